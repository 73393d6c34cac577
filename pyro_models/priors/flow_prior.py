"""Flows as priors."""

from collections.abc import Sequence
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_models.flows import Flow, FlowDistribution
from pyro_models.networks import MLP
from pyro_models.sizes import check_at_least
from pyro_models.transforms import MaskedCoupling, alternating
from pyro_models.zuko_import import import_zuko


class FlowPrior(Flow):
    r"""p(z): RealNVP over the code, which starts as the standard normal.

    .. math:: z = f_n(\ldots f_1(\epsilon)), \qquad \epsilon \sim N(0, I)

    Shapes: ``forward()`` returns a distribution of ``event_shape`` (latent_dim,).

    Args:
        latent_dim: size of the code, at least 2.
        couplings: number of couplings, with alternating masks.
        hidden: widths of the hidden layers of each coupling's network.
        context: size of an additional input of the networks, such as the number of classes; 0 for none.
        bound: bound on each coupling's log scale, see :class:`~pyro_models.transforms.AffineCoupling`;
            with a small bound the density falls off less steeply for codes far from the origin.

    Raises:
        ValueError: if ``latent_dim`` is below 2, ``couplings`` below 1 or ``bound`` not positive.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017); as a prior,
    Chen et al., "Variational lossy autoencoder" (2017), section 3.2.

    Example:
        >>> from pyro_models import FlowPrior
        >>> p = FlowPrior(4, couplings=2)()
        >>> p.log_prob(p.sample([5])).shape
        torch.Size([5])
    """

    def __init__(
        self,
        latent_dim: int,
        couplings: int = 6,
        hidden: Sequence[int] = (128,),
        context: int = 0,
        bound: float | None = 2.0,
    ) -> None:
        check_at_least(2, latent_dim=latent_dim)

        def network() -> nn.Module:
            return MLP(latent_dim + context, (latent_dim, latent_dim), hidden, zero_init=True)

        masks = [alternating(latent_dim, odd=bool(i % 2)) for i in range(couplings)]
        super().__init__([MaskedCoupling(mask, network(), bound) for mask in masks], latent_dim, context)


Kind = Literal["NSF", "MAF", "NICE", "RealNVP", "GF", "BPF", "SOSPF", "NAF", "UNAF"]  # the flows with a normal base


class ZukoPrior(nn.Module):
    r"""p(z): one of zuko's flows, such as "NSF" (splines) or "MAF" (autoregressive affine maps).

    Shapes: ``forward()`` returns a distribution of ``event_shape`` (latent_dim,).

    Args:
        latent_dim: size of the code.
        kind: name of a class in ``zuko.flows`` whose base is the standard normal.
        transforms: number of transforms in the flow.
        hidden: widths of the hidden layers of each transform's network.

    Raises:
        ValueError: if this release of zuko has no such flow, or a size is below 1.

    Source: Durkan et al., "Neural spline flows" (2019); Papamakarios, Pavlakou and Murray, "Masked
    autoregressive flow" (2017); the flows are zuko's.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self, latent_dim: int, kind: Kind = "NSF", transforms: int = 3, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        zuko = import_zuko()
        check_at_least(1, latent_dim=latent_dim, transforms=transforms, narrowest=min(hidden, default=None))
        make = getattr(zuko.flows, kind, None)
        if kind not in get_args(Kind) or make is None:
            raise ValueError(f"zuko has no such flow {kind!r}: expected one of {', '.join(get_args(Kind))}")
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)
        self.flow = make(latent_dim, transforms=transforms, hidden_features=list(hidden))

    def forward(self) -> dist.TorchDistribution:
        base = dist.Normal(self.loc, self.scale).to_event(1)
        return FlowDistribution(base, [self.flow().transform.inv])
