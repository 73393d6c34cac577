"""A guide of a two-level model that draws the codes in the model's order."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_models.flows import FlowDistribution
from pyro_models.flows.vector_realnvp import alternating_couplings
from pyro_models.guides.mean_field import MeanFieldGuide
from pyro_models.networks import MLP, scale_of
from pyro_models.sizes import check_at_least, features_of
from pyro_models.transforms.bijector import modules_of


class TopDownGuide(MeanFieldGuide):
    r"""q(z1, z2 | x) = q(z2 | x) q(z1 | x, z2), both mean-field normal distributions, or flows from them.

    .. math::
        z_2 \sim N(\mathrm{loc}(h), \mathrm{diag}\,\mathrm{scale}(h)^2), \qquad
        z_1 \sim N(\mathrm{loc}(h, z_2), \mathrm{diag}\,\mathrm{scale}(h, z_2)^2), \qquad h = \mathrm{encoder}(x)

    With ``couplings``, these are followed by RealNVP couplings conditioned on h, which start as the identity.

    The posterior of z2 does not depend on z1, which makes the upper level less prone to collapse than
    with :class:`TwoLevelGuide` and lets a :class:`~pyro_models.priors.VampPrior` mix it.

    Sites ``z2`` and ``z1``, inside the plate ``data``.

    Shapes: z2 is (B, top_dim), z1 (B, latent_dim); ``posterior(x)`` is the one of z2.

    Args:
        encoder: as for :class:`AmortizedGuide`.
        latent_dim: size of z1, the code next to the image; at least 2 with couplings.
        top_dim: size of z2; by default half of latent_dim; at least 2 with couplings.
        hidden: widths of the hidden layers from features and z2 to z1.
        num_classes: as for :class:`AmortizedGuide`.
        couplings: number of couplings of each level, with alternating masks; 0 for normal distributions.
        bound: bound on each coupling's log scale, as for :class:`FlowGuide`.

    Raises:
        ValueError: if a size is below its least value, or ``couplings`` below 0.

    Source: Tomczak and Welling, "VAE with a VampPrior" (2018), section 4; the couplings as in :class:`FlowGuide`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        top_dim: int | None = None,
        hidden: Sequence[int] = (300,),
        num_classes: int = 0,
        couplings: int = 0,
        bound: float | None = 0.5,
    ) -> None:
        top_dim = top_dim or max(1, latent_dim // 2)
        super().__init__(encoder, top_dim, num_classes)
        check_at_least(0, couplings=couplings)
        features = features_of(encoder)
        self.down = MLP(features + top_dim, (latent_dim, latent_dim), hidden)
        if couplings:
            check_at_least(2, latent_dim=latent_dim, top_dim=top_dim)  # a coordinate is transformed given others
        self.couplings_of_z2, self.couplings_of_z1 = (
            modules_of(alternating_couplings(size, couplings, (128,), bound=bound, context=features))
            for size in (top_dim, latent_dim)
        )

    def posterior_of(self, features: Tensor) -> dist.TorchDistribution:
        return _followed_by(self.couplings_of_z2, super().posterior_of(features), features)

    def forward(self, x: Tensor, labels: Tensor | None = None, *, batch: int = 1) -> None:
        features = self.features(x, labels)
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", self.posterior_of(features))
            loc, raw = self.down(z2, features)
            normal = dist.Normal(loc, scale_of(raw)).to_event(1)
            pyro.sample("z1", _followed_by(self.couplings_of_z1, normal, features))


def _followed_by(couplings: nn.ModuleList, normal: dist.TorchDistribution, features: Tensor) -> dist.TorchDistribution:
    if not couplings:
        return normal
    return FlowDistribution(normal, [coupling.condition(features) for coupling in couplings])  # type: ignore[operator]
