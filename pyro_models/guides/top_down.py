"""A guide of a two-level model that draws the codes in the model's order."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_models.guides.mean_field import MeanFieldGuide
from pyro_models.networks import MLP, scale_of
from pyro_models.sizes import features_of


class TopDownGuide(MeanFieldGuide):
    r"""q(z1, z2 | x) = q(z2 | x) q(z1 | x, z2), both mean-field normal distributions.

    .. math::
        z_2 \sim N(\mathrm{loc}(h), \mathrm{diag}\,\mathrm{scale}(h)^2), \qquad
        z_1 \sim N(\mathrm{loc}(h, z_2), \mathrm{diag}\,\mathrm{scale}(h, z_2)^2), \qquad h = \mathrm{encoder}(x)

    The posterior of z2 does not depend on z1, which makes the upper level less prone to collapse than
    with :class:`TwoLevelGuide` and lets a :class:`~pyro_models.priors.VampPrior` mix it.

    Sites ``z2`` and ``z1``, inside the plate ``data``.

    Shapes: z2 is (B, top_dim), z1 (B, latent_dim); ``posterior(x)`` is the one of z2.

    Args:
        encoder: as for :class:`AmortizedGuide`.
        latent_dim: size of z1, the code next to the image.
        top_dim: size of z2; by default half of latent_dim.
        hidden: widths of the hidden layers from features and z2 to z1.
        num_classes: as for :class:`AmortizedGuide`.

    Source: Tomczak and Welling, "VAE with a VampPrior" (2018).
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        top_dim: int | None = None,
        hidden: Sequence[int] = (300,),
        num_classes: int = 0,
    ) -> None:
        top_dim = top_dim or max(1, latent_dim // 2)
        super().__init__(encoder, top_dim, num_classes)
        features = features_of(encoder)
        self.down = MLP(features + top_dim, (latent_dim, latent_dim), hidden)

    def forward(self, x: Tensor, labels: Tensor | None = None, *, batch: int = 1) -> None:
        features = self.features(x, labels)
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", self.posterior_of(features))
            loc, raw = self.down(z2, features)
            pyro.sample("z1", dist.Normal(loc, scale_of(raw)).to_event(1))
