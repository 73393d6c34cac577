"""Amortised guides that transform a normal distribution by a flow."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.transforms import ConditionalAffineAutoregressive
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn
from torch.distributions import Transform

from pyro_models.flows import FlowDistribution
from pyro_models.flows.vector_realnvp import alternating_couplings
from pyro_models.guides.amortized import AmortizedGuide
from pyro_models.masks import guard_masks
from pyro_models.networks import scale_of
from pyro_models.sizes import check_at_least, features_of
from pyro_models.transforms import Flip
from pyro_models.transforms.bijector import modules_of


class _TransformedNormal(AmortizedGuide):
    """A mean-field normal distribution and transforms conditioned on the encoder's features."""

    def __init__(self, encoder: nn.Module, latent_dim: int, num_classes: int) -> None:
        super().__init__(encoder, latent_dim, 2 * latent_dim, num_classes)
        check_at_least(2, latent_dim=latent_dim)  # a coordinate is transformed given others

    def transforms(self, features: Tensor) -> list[Transform]:
        raise NotImplementedError

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> dist.TorchDistribution:
        features = self.features(x, labels)
        loc, raw = self.numbers(features).chunk(2, dim=-1)
        return FlowDistribution(dist.Normal(loc, scale_of(raw)).to_event(1), self.transforms(features))


class FlowGuide(_TransformedNormal):
    r"""q(z | x): a mean-field normal distribution transformed by RealNVP couplings, all conditioned on the image.

    .. math::
        z = f_n(\ldots f_1(z_0; h(x)) \ldots; h(x)), \quad z_0 \sim N(\mathrm{loc}(x), \mathrm{diag}\,
        \mathrm{scale}(x)^2), \qquad
        \log q(z \mid x) = \log q_0(z_0 \mid x) - \sum_i \log |\det J_{f_i}|

    It starts as a :class:`MeanFieldGuide`, or nearly with ``components``.  Without them its density is cheap for any z,
    not only for its own draws.

    Site and shapes as for :class:`AmortizedGuide`.

    Args:
        encoder: as for :class:`AmortizedGuide`.
        latent_dim: size of the code, at least 2.
        couplings: number of couplings, with alternating masks.
        hidden: widths of the hidden layers of each coupling's network.
        num_classes: as for :class:`AmortizedGuide`.
        components: number of logistic distributions in each coupling's mixture, see
            :class:`~pyro_models.transforms.LogisticMixtureCoupling`; 0 for affine couplings.
        bound: bound on each coupling's log scale, see :class:`~pyro_models.transforms.AffineCoupling`; a small one
            keeps rare draws closer to the others.

    Raises:
        ValueError: if a number is out of its range.

    Source: Rezende and Mohamed, "Variational inference with normalizing flows" (2015), with the
    couplings of Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017).

    Example:
        >>> import torch
        >>> from pyro_models import FlowGuide, MLPEncoder
        >>> q = FlowGuide(MLPEncoder((1, 8, 8)), latent_dim=2).posterior(torch.zeros(5, 1, 8, 8))
        >>> q.log_prob(q.rsample()).shape
        torch.Size([5])
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        couplings: int = 4,
        hidden: Sequence[int] = (128,),
        num_classes: int = 0,
        components: int = 0,
        bound: float | None = 2.0,
    ) -> None:
        super().__init__(encoder, latent_dim, num_classes)
        check_at_least(1, couplings=couplings)
        chain = alternating_couplings(
            latent_dim, couplings, hidden, bound=bound, context=features_of(encoder), components=components
        )
        # a mixture's fast direction is the one in which a guide draws
        self.couplings = modules_of([coupling.inv for coupling in chain] if components else chain)

    def transforms(self, features: Tensor) -> list[Transform]:
        return [coupling.condition(features) for coupling in self.couplings]  # type: ignore[operator]


class IAFGuide(_TransformedNormal):
    r"""q(z | x): inverse autoregressive flow.

    .. math::
        z_{k} = \sigma_k \odot z_{k-1} + (1 - \sigma_k) \odot m_k, \qquad
        (m_k, \sigma_k) = \mathrm{AutoregressiveNN}_k(z_{k-1}; h(x))

    with the coordinates reversed between layers.  Drawing z and its density takes one pass; the
    density of any other z takes one pass per coordinate.

    Site and shapes as for :class:`AmortizedGuide`.

    Args:
        encoder: as for :class:`AmortizedGuide`.
        latent_dim: size of the code, at least 2.
        layers: number of autoregressive transforms.
        hidden: widths of the hidden layers of each transform, at least as wide as the code.
        num_classes: as for :class:`AmortizedGuide`.

    Raises:
        ValueError: if a number is out of its range.

    Source: Kingma et al., "Improving variational inference with inverse autoregressive flow"
    (2016), algorithm 1; the transform is Pyro's.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        layers: int = 2,
        hidden: Sequence[int] = (128,),
        num_classes: int = 0,
    ) -> None:
        super().__init__(encoder, latent_dim, num_classes)
        if layers < 1 or not hidden or min(hidden) < latent_dim:
            raise ValueError(
                f"layers must be at least 1 and hidden layers as wide as the code, {latent_dim}; got {layers} and "
                f"{list(hidden)}"
            )
        features = features_of(encoder)
        order: Any = torch.arange(latent_dim)
        nets = [
            ConditionalAutoRegressiveNN(latent_dim, features, list(hidden), permutation=order) for _ in range(layers)
        ]
        for net in nets:
            guard_masks(net)
        self.layers = nn.ModuleList(ConditionalAffineAutoregressive(net, stable=True) for net in nets)

    def transforms(self, features: Tensor) -> list[Transform]:
        flip = Flip()
        return [part for layer in self.layers for part in (layer.condition(features), flip)]  # type: ignore[operator]
