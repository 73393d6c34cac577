"""A guide of a two-level model that draws the codes from the image upwards."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_models.guides.mean_field import MeanFieldGuide
from pyro_models.networks import MLP, scale_of


class TwoLevelGuide(MeanFieldGuide):
    r"""q(z1, z2 | x) = q(z1 | x) q(z2 | z1), both mean-field normal distributions.

    .. math::
        z_1 \sim N(\mathrm{loc}(x), \mathrm{diag}\,\mathrm{scale}(x)^2), \qquad
        z_2 \sim N(\mathrm{loc}(z_1), \mathrm{diag}\,\mathrm{scale}(z_1)^2)

    Sites ``z1`` and ``z2``, inside the plate ``data``.

    Shapes: z1 is (B, latent_dim), z2 (B, top_dim).

    Args:
        encoder: as for :class:`AmortizedGuide`.
        latent_dim: size of z1, the code next to the image.
        top_dim: size of z2; by default half of latent_dim.
        hidden: widths of the hidden layers between z1 and z2.
        num_classes: as for :class:`AmortizedGuide`.

    Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016), figure 1 and
    appendix C.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        top_dim: int | None = None,
        hidden: Sequence[int] = (100, 100),
        num_classes: int = 0,
    ) -> None:
        super().__init__(encoder, latent_dim, num_classes)
        top_dim = top_dim or max(1, latent_dim // 2)
        self.up = MLP(latent_dim, (top_dim, top_dim), hidden, "Tanh")

    def forward(self, x: Tensor, labels: Tensor | None = None, *, batch: int = 1) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", self.posterior(x, labels))
            loc, raw = self.up(z1)
            pyro.sample("z2", dist.Normal(loc, scale_of(raw)).to_event(1))
