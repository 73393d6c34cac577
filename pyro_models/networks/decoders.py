"""Networks that map codes to the parameters of each pixel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_models.networks.encoders import join
from pyro_models.networks.mlp import MLP, Activation
from pyro_models.networks.resnet import Residual, channels_last
from pyro_models.sizes import check_at_least, checked_data_shape, checked_shape


class MLPDecoder(nn.Module):
    r"""Map a code to the parameters of every pixel, or coordinate of a vector, by fully connected layers.

    Shapes: z is (\*, latent_dim), a context (\*, K); the result is (\*, C, H, W), one number such as
    a Bernoulli's logit for each pixel, or (\*, C, H, W, P) for P numbers; for vectors (\*, D) or (\*, D, P).

    Args:
        latent_dim: size of the code.
        image_shape: (C, H, W), or (D,) for vectors.
        hidden: widths of the hidden layers.
        activation: name of a class in ``torch.nn``.
        latent_dropout: probability with which a coordinate of the code is set to zero in training.
        per_pixel: P, the number that the likelihood takes.
        context: size of an additional input, such as the number of classes; 0 for none.

    Raises:
        ValueError: if a number is out of its range.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix C.1.

    Example:
        >>> import torch
        >>> from pyro_models import MLPDecoder
        >>> MLPDecoder(2, (1, 8, 8))(torch.zeros(5, 2)).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: Sequence[int],
        hidden: Sequence[int] = (400, 400),
        activation: Activation = "ELU",
        latent_dropout: float = 0.0,
        per_pixel: int = 1,
        context: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, latent_dim=latent_dim, per_pixel=per_pixel)
        check_at_least(0, context=context)
        image_shape = checked_data_shape(image_shape)
        self.shape = image_shape if per_pixel == 1 else (*image_shape, per_pixel)
        self.dropout = nn.Dropout(checked_dropout(latent_dropout))
        self.net = MLP(latent_dim + context, math.prod(self.shape), hidden, activation)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(join(self.dropout(z), context)).unflatten(-1, self.shape)


class ConvDecoder(nn.Module):
    r"""Map a code to the parameters of every pixel by residual convolutions.

    A fully connected layer makes the smallest maps; each stage doubles the sides, rounded to the
    sizes that halving the image gives, halves the channels and ends with residual blocks.

    Shapes: as for :class:`MLPDecoder`, with images.

    Args:
        latent_dim: size of the code.
        image_shape: (C, H, W).
        channels: number of channels of the last stage.
        stages: number of stages.
        blocks: number of residual blocks in a stage.
        latent_dropout: probability with which a coordinate of the code is set to zero in training.
        per_pixel: as for :class:`MLPDecoder`.
        context: as for :class:`MLPDecoder`; it joins the code.

    Raises:
        ValueError: if a number is out of its range.

    Source: He et al., "Deep residual learning for image recognition" (2016).

    Example:
        >>> import torch
        >>> from pyro_models import ConvDecoder
        >>> ConvDecoder(2, (1, 7, 5), channels=4)(torch.zeros(5, 2)).shape
        torch.Size([5, 1, 7, 5])
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: Sequence[int],
        channels: int = 16,
        stages: int = 2,
        blocks: int = 1,
        latent_dropout: float = 0.0,
        per_pixel: int = 1,
        context: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, latent_dim=latent_dim, channels=channels, stages=stages, blocks=blocks, per_pixel=per_pixel)
        check_at_least(0, context=context)
        image_shape = checked_shape(image_shape)
        self.per_pixel = per_pixel
        self.dropout = nn.Dropout(checked_dropout(latent_dropout))
        sizes = [(image_shape[1], image_shape[2])]
        for _ in range(stages):
            sizes.insert(0, ((sizes[0][0] + 1) // 2, (sizes[0][1] + 1) // 2))
        smallest = (channels * 2**stages, *sizes[0])
        layers: list[nn.Module] = [nn.Linear(latent_dim + context, math.prod(smallest)), nn.Unflatten(-1, smallest)]
        for stage, size in zip(reversed(range(stages)), sizes[1:], strict=True):
            width = channels * 2**stage
            # the identity stands where a layer of its own once enlarged the maps: saved weights keep their names
            layers += [nn.ELU(), nn.Identity(), EnlargingConv2d(2 * width, width, size)]
            layers += [Residual(width) for _ in range(blocks)]
        last = nn.Conv2d(channels, image_shape[0] * per_pixel, 3, padding=1)
        self.net = nn.Sequential(*layers, nn.ELU(inplace=True), last)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        z = join(self.dropout(z), context)
        smallest = self.net[:2](z.reshape(-1, z.shape[-1]))
        y = self.net[2:](channels_last(smallest)).to(z.dtype).contiguous()
        y = y.reshape(*z.shape[:-1], *y.shape[1:])
        if self.per_pixel == 1:
            return y
        return y.unflatten(-3, (-1, self.per_pixel)).movedim(-3, -1)


class EnlargingConv2d(nn.Conv2d):
    r"""A 3x3 convolution of maps whose pixels are first repeated up to a size.

    Where both sides double, it is one transposed convolution with stride 2: repeated pixels share the
    sum of their weights, 4 products for each output pixel and channel instead of 9.

    Shapes: (N, ``in_channels``, h, w) to (N, ``out_channels``, \*size).

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        size: height and width of the result.

    Source: Shi et al., "Is the deconvolution layer the same as a convolutional layer?" (2016).
    """

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int]) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if self.size != (2 * x.shape[-2], 2 * x.shape[-1]):
            return super().forward(nn.functional.interpolate(x, self.size))
        rows = _summed(self.weight, -2)
        return nn.functional.conv_transpose2d(x, _summed(rows, -1).transpose(0, 1), self.bias, stride=2, padding=1)


def _summed(weight: Tensor, dim: int) -> Tensor:
    """The weights (a, b, c) of repeated pixels as (c, b + c, a + b, a), those of a transposed convolution."""
    a, b, c = weight.unbind(dim)
    return torch.stack([c, b + c, a + b, a], dim)


def checked_dropout(probability: float) -> float:
    if not 0 <= probability < 1:
        raise ValueError(f"latent_dropout must be at least 0 and below 1; got {probability}")
    return probability
