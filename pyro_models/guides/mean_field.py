"""The amortised mean-field guide."""

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor, nn


class MeanFieldGuide(PyroModule):
    r"""q(z | x) = N(z; loc(x), diag scale(x)^2).

    .. math:: z = \mathrm{loc}(x) + \mathrm{scale}(x) \odot \epsilon, \qquad \epsilon \sim N(0, I)

    Site ``z``, inside the plate ``data``.

    Shapes: x is (B, C, H, W); z is (B, latent_dim).

    Args:
        encoder: module from images to the pair (loc, scale), each (B, latent_dim).

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), equation 9.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, batch: int = 1) -> None:
        with pyro.plate("data", len(x)):
            loc, scale = self.encoder(x)
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))
