"""Networks between images and codes."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from pyro_models.networks.mlp import MLP


class MLPEncoder(nn.Module):
    r"""The mean and standard deviation of a code, from an image.

    .. math::
        (m, v) = \mathrm{MLP}(2x - 1), \qquad \mathrm{loc} = m, \qquad
        \mathrm{scale} = \sqrt{\mathrm{softplus}(v) + 10^{-8}}

    Shapes: x is (\*, C, H, W) with values in [0, 1]; loc and scale are (\*, latent_dim).

    Args:
        image_shape: (C, H, W).
        latent_dim: size of the code.
        hidden: widths of the hidden layers.
        activation: name of a class in ``torch.nn``.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix C.2.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        hidden: Sequence[int] = (400, 400),
        activation: str = "ELU",
    ) -> None:
        super().__init__()
        self.net = MLP(math.prod(image_shape), (latent_dim, latent_dim), hidden, activation)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, raw_variance = self.net(2 * x.flatten(-3) - 1)
        # the floor keeps the density proper where softplus underflows
        return loc, (nn.functional.softplus(raw_variance) + 1e-8).sqrt()


class MLPDecoder(nn.Module):
    r"""The Bernoulli logits of an image's pixels, from a code.

    Shapes: z is (\*, latent_dim); the logits are (\*, C, H, W).

    Args:
        latent_dim: size of the code.
        image_shape: (C, H, W).
        hidden: widths of the hidden layers.
        activation: name of a class in ``torch.nn``.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix C.1.
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        hidden: Sequence[int] = (400, 400),
        activation: str = "ELU",
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.net = MLP(latent_dim, math.prod(image_shape), hidden, activation)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z).unflatten(-1, self.image_shape)
