"""Zuko's flows over vectors."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Transform

from pyro_models.flows.flow import NormalFlow
from pyro_models.masks import guard_masks
from pyro_models.sizes import check_at_least
from pyro_models.zuko_import import import_zuko

Kind = Literal["NSF", "MAF", "NICE", "RealNVP", "GF", "BPF", "SOSPF", "NAF", "UNAF"]  # the flows with a normal base
_NEAR_THE_IDENTITY = 0.05


class ZukoFlow(NormalFlow):
    r"""One of zuko's flows over vectors, such as "NSF" (splines) or "MAF" (autoregressive affine maps).

    .. math:: x = f^{-1}(\epsilon), \qquad \epsilon \sim N(0, I_D)

    with zuko's transform f from data to base.  The splines of "NSF" are the identity outside [-5, 5]:
    standardise the data.

    Shapes: ``forward()`` returns a distribution of ``event_shape`` (D,); with a context (B, K) its
    ``batch_shape`` is (B,).

    Args:
        size: D; 1 is enough.
        kind: name of a class in ``zuko.flows`` whose base is the standard normal.
        transforms: number of transforms in the flow.
        hidden: widths of the hidden layers of each transform's network.
        context: K, size of an additional input of the networks, such as the number of classes; 0 for none.

    Raises:
        ValueError: if this release of zuko has no such flow, or a size is out of its range.

    Source: Durkan et al., "Neural spline flows" (2019); Papamakarios, Pavlakou and Murray, "Masked
    autoregressive flow" (2017); the flows are zuko's.

    Example:
        >>> from pyro_models import ZukoFlow
        >>> p = ZukoFlow(2, "NSF", transforms=1, hidden=[8])()
        >>> x = p.sample([5])
        >>> x.shape, p.log_prob(x).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    def __init__(
        self,
        size: int,
        kind: Kind = "NSF",
        transforms: int = 3,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
    ) -> None:
        super().__init__(size, context)
        zuko = import_zuko()
        check_at_least(1, transforms=transforms, **{"every width in hidden": min(hidden, default=None)})
        make = getattr(zuko.flows, kind, None)
        if kind not in get_args(Kind) or make is None:
            raise ValueError(f"zuko has no such flow {kind!r}: expected one of {', '.join(get_args(Kind))}")
        self.flow = make(size, context, transforms=transforms, hidden_features=list(hidden))
        for part in self.flow.modules():
            if isinstance(part, zuko.nn.MaskedMLP):
                guard_masks(part)
        if size == 1 and not context:  # maps without a network, which zuko starts far from the identity
            with torch.no_grad():
                for parameter in self.flow.parameters():
                    parameter.mul_(_NEAR_THE_IDENTITY)

    def transforms_given(self, context: Tensor | None) -> list[Transform]:
        return [self.flow(context).transform.inv]
