"""Networks that map images to features, from which a guide computes the parameters of its distribution."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_models.networks.mlp import MLP, Activation, activation_class
from pyro_models.networks.resnet import Residual, channels_last
from pyro_models.sizes import check_at_least, checked_data_shape, checked_shape


class MLPEncoder(nn.Module):
    r"""Map an image or a vector to features by fully connected layers.

    .. math::
        h(x) = \mathrm{activation}(W_n \cdots \mathrm{activation}(W_1 \tilde x + b_1) \cdots + b_n), \qquad
        \tilde x = 2 x / (\mathrm{levels} - 1) - 1, \text{ or } x \text{ without levels}

    Shapes: x is (\*, C, H, W) or (\*, D), with values from 0 to levels - 1 or without levels any real numbers;
    a context is (\*, K), h (\*, ``out_features``).

    Args:
        image_shape: (C, H, W), or (D,) for vectors.
        hidden: widths of the layers; with none, the features are the pixels.
        activation: name of a class in ``torch.nn``.
        noise: standard deviation of normal noise added to the pixels in training.
        context: size of an additional input, such as the number of classes; 0 for none.
        levels: number of values of a pixel; ``None`` for real numbers, used as they are.

    Raises:
        ValueError: if a number is out of its range.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix C.2; noise as in
    Im et al., "Denoising criterion for variational auto-encoding framework" (2017).

    Example:
        >>> import torch
        >>> from pyro_models import MLPEncoder
        >>> MLPEncoder((1, 8, 8), hidden=[30])(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 30])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        hidden: Sequence[int] = (400, 400),
        activation: Activation = "ELU",
        noise: float = 0.0,
        context: int = 0,
        levels: int | None = 2,
    ) -> None:
        super().__init__()
        if not noise >= 0:
            raise ValueError(f"noise must be at least 0; got {noise}")
        check_at_least(0, context=context)
        check_at_least(2, levels=levels)
        size = math.prod(checked_data_shape(image_shape)) + context
        self.event_dim = len(image_shape)
        self.noise = noise
        self.levels = levels
        self.out_features = hidden[-1] if hidden else size
        self.net = nn.Sequential()
        if hidden:
            self.net = nn.Sequential(MLP(size, hidden[-1], hidden[:-1], activation), activation_class(activation)())

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = with_noise(centred(x, self.levels), self.noise * self.training)
        return self.net(join(x.flatten(-self.event_dim), context))


class ConvEncoder(nn.Module):
    r"""Map an image to features by residual convolutions.

    A convolution, then stages of residual blocks, each ending by halving the sides (rounded
    up) and doubling the channels; a fully connected layer computes the features.

    Shapes: as for :class:`MLPEncoder`, with images.

    Args:
        image_shape: (C, H, W).
        channels: number of channels of the first stage.
        stages: number of stages.
        blocks: number of residual blocks in a stage.
        features: number of features returned, ``out_features``.
        noise: standard deviation of normal noise added to the pixels in training.
        context: as for :class:`MLPEncoder`; it joins the last layer.
        levels: as for :class:`MLPEncoder`.

    Raises:
        ValueError: if a number is out of its range.

    Source: He et al., "Deep residual learning for image recognition" (2016).
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        channels: int = 16,
        stages: int = 2,
        blocks: int = 1,
        features: int = 256,
        noise: float = 0.0,
        context: int = 0,
        levels: int | None = 2,
    ) -> None:
        super().__init__()
        check_at_least(1, channels=channels, stages=stages, blocks=blocks, features=features)
        check_at_least(0, context=context)
        check_at_least(2, levels=levels)
        if not noise >= 0:
            raise ValueError(f"noise must be at least 0; got {noise}")
        self.noise = noise
        self.levels = levels
        self.out_features = features
        in_channels, height, width = checked_shape(image_shape)
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1)]
        for stage in range(stages):
            width_in = channels * 2**stage
            layers += [Residual(width_in) for _ in range(blocks)]
            layers += [nn.ELU(inplace=True), nn.Conv2d(width_in, 2 * width_in, 3, stride=2, padding=1)]
            height, width = (height + 1) // 2, (width + 1) // 2
        self.net = nn.Sequential(*layers, nn.ELU(inplace=True), nn.Flatten())
        self.out = nn.Linear(channels * 2**stages * height * width + context, features)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        noisy = with_noise(centred(x, self.levels), self.noise * self.training)
        maps = self.net(channels_last(noisy.reshape(-1, *x.shape[-3:])))
        flat = maps.reshape(*x.shape[:-3], math.prod(maps.shape[1:]))
        return nn.functional.elu(self.out(join(flat, context))).to(x.dtype)


def join(x: Tensor, context: Tensor | None) -> Tensor:
    """x (*, D) and a context (B, K) joined to (*, D + K); x itself without a context."""
    if context is None:
        return x
    batch = torch.broadcast_shapes(x.shape[:-1], context.shape[:-1])
    return torch.cat([part.expand(*batch, part.shape[-1]) for part in (x, context)], dim=-1)


def centred(x: Tensor, levels: int | None) -> Tensor:
    """Pixels from 0 to levels - 1 mapped to [-1, 1]; real numbers, without levels, as they are."""
    return x if levels is None else 2 * x / (levels - 1) - 1


def with_noise(x: Tensor, scale: float) -> Tensor:
    return x + scale * torch.randn_like(x) if scale else x
