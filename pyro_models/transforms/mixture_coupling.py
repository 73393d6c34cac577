"""The coupling layer of Flow++: one part of an event moves the other by a mixture of logistic distributions."""

import math
from typing import Any

import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from pyro_models.places import Places
from pyro_models.sizes import check_at_least
from pyro_models.transforms.bijector import Bijector, ConditionedBijector
from pyro_models.transforms.coupling import checked_mask
from pyro_models.transforms.halves import Halves
from pyro_models.transforms.log_scales import bounded, check_bound
from pyro_models.transforms.logistic_mixture import LogisticMixture

_LARGEST_LOG_SCALE = 5.0  # of a component: scales from 0.0067 to 148


class LogisticMixtureCoupling(Bijector):
    r"""Coupling whose elementwise map is the distribution function of a mixture of logistics, in log odds.

    With :math:`x = (x_a, x_b)`, two halves of equal size,

    .. math::
        y_a = x_a, \qquad y_b = e^{s} \operatorname{logit} F(x_b) + t, \qquad
        F(x) = \sum_{k=1}^K w_k\, \sigma\big(e^{-r_k} (x - m_k)\big)

    .. math::
        \log |\det J_f(x)| = \sum_j \Big( s + \log F' - \log F - \log (1 - F) \Big)_j = -\log |\det J_{f^{-1}}(y)|

    where s, t, w, m and r are functions of :math:`x_a`.  The inverse has no closed form: it is found by bisection and
    Newton's method, with gradients by the implicit function theorem, which are right for first derivatives only.  Its
    result gives y again to rounding; where F is flat, as between two narrow components, many x do, and x and the
    log-determinant there are uncertain.  It takes some 35 times as long: where a flow is fitted to data, the direction
    from the data to the base should be this one, and the flow's transform ``coupling.inv``.

    The locations are the network's numbers, spread by (k - (K + 1) / 2) / K.  Thus a network that starts at zero gives
    nearly the identity, exactly for K = 1, and yet components with different gradients.

    Shapes: an event is (D,), or (C, H, W) with ``dim=-3`` to split the channels, or that of the mask;
    log-determinants have the batch shape, in nats.

    Args:
        conditioner: a module that maps :math:`x_a` to five tensors: raw log scale, shift, logits of the weights,
            locations and raw log scales of the components; the first two of :math:`x_a`'s shape, the others K times
            as large along ``dim``, all numbers of the first component first.  For example
            :class:`~pyro_models.networks.MLP` with ``out_features=(D/2, D/2, K D/2, K D/2, K D/2)``.
        components: their number K.
        bound: b in :math:`s = b \tanh(\mathrm{raw} / b)`; ``None`` uses the raw log scale.  The components' log
            scales r are bounded by 5.
        dim: the dimension to split, negative; it is the first dimension of an event.
        swap: transform the first half given the second.
        mask: in place of halves, ones where x passes unchanged, zeros where it is transformed; the conditioner
            is called with the masked event.

    Raises:
        ValueError: if the split dimension is odd, a number out of its range, the mask does not hold both zeros and ones
            and nothing else, ``dim`` or ``swap`` is given beside a mask, or the conditioner returns anything else.

    Source: Ho, Chen, Srinivas, Duan and Abbeel, "Flow++" (2019), section 3.2.

    Example:
        >>> import torch
        >>> from pyro_models import MLP, LogisticMixtureCoupling
        >>> coupling = LogisticMixtureCoupling(MLP(2, (2, 2, 6, 6, 6), hidden=[10]), components=3)
        >>> x = torch.randn(5, 4)
        >>> y, log_det = coupling.forward_and_log_det(x)
        >>> torch.allclose(coupling.inv(y), x, atol=1e-4), log_det.shape
        (True, torch.Size([5]))
    """

    offsets: Tensor

    def __init__(
        self,
        conditioner: nn.Module,
        components: int = 8,
        bound: float | None = 2.0,
        dim: int = -1,
        swap: bool = False,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_at_least(1, components=components)
        check_bound(bound)
        if dim >= 0:
            raise ValueError(f"dim counts from the right and must be negative; got {dim}")
        if mask is not None and (dim != -1 or swap):
            raise ValueError("a mask says what is transformed: leave out dim and swap")
        self.conditioner = conditioner
        self.components = components
        self.bound = bound
        self.where: _Half | _Mask = _Half(Halves(dim, swap)) if mask is None else _Mask(mask)
        self.register_buffer(
            "offsets", (torch.arange(components) - (components - 1) / 2) / components, persistent=False
        )
        self.domain = self.codomain = constraints.independent(constraints.real, -self.where.dim)

    def condition(self, context: Tensor) -> ConditionedBijector:
        """The coupling whose conditioner is called with (x_a, context)."""
        return ConditionedBijector(self, context)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen, changed = self.where.split(x)
        log_scale, shift, mixture = self._numbers(seen, context)
        odds, log_slope = mixture.log_odds(changed)
        return self.where.join(x, odds * log_scale.exp() + shift), (log_scale + log_slope).sum(-1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen, changed = self.where.split(y)
        log_scale, shift, mixture = self._numbers(seen, context)
        x = mixture.quantile((changed - shift) * (-log_scale).exp())
        return self.where.join(y, x), -(log_scale + mixture.log_odds(x)[1]).sum(-1)

    def _numbers(self, seen: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, LogisticMixture]:
        """Log scale and shift (\\*, changed) and the mixture (\\*, K, changed), of the changed places alone."""
        found = self.conditioner(seen) if context is None else self.conditioner(seen, context)
        numbers = self._checked(found, seen)
        raw, shift = (self.where.of_changed(part) for part in numbers[:2])
        logits, loc, log_scale = (
            self.where.of_changed(part.unflatten(-1, (self.components, -1))) for part in numbers[2:]
        )
        spread = loc + self.offsets.to(loc.dtype)[:, None]
        mixture = LogisticMixture(logits.log_softmax(-2), spread, bounded(log_scale, _LARGEST_LOG_SCALE))
        return bounded(raw, self.bound), shift, mixture

    def _checked(self, found: Any, seen: Tensor) -> list[Tensor]:
        """The five tensors, each with a flat event."""
        dim, count = self.where.dim, self.components
        size, *rest = seen.shape[dim:]
        expected = [(size, *rest)] * 2 + [(count * size, *rest)] * 3
        shapes = [tuple(part.shape[dim:]) for part in found] if isinstance(found, tuple | list) else []
        if shapes != expected or any(part.dim() < seen.dim() for part in found):
            raise ValueError(
                "the conditioner must return raw log scales and shifts, two tensors of shape "
                f"(*, {', '.join(map(str, expected[0]))}), and logits, locations and raw log scales of {count} "
                f"components, three of (*, {', '.join(map(str, expected[2]))}); got {shapes or type(found).__name__}"
            )
        return [part.to(seen.dtype).flatten(dim) for part in found]


class _Half(nn.Module):
    """One of two equal halves of a dimension."""

    def __init__(self, halves: Halves) -> None:
        super().__init__()
        self.halves, self.dim = halves, halves.dim

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees, and the flat values to transform."""
        seen, changed = self.halves.split(x)
        return seen, changed.flatten(self.dim)

    def join(self, x: Tensor, changed: Tensor) -> Tensor:
        seen, before = self.halves.split(x)
        return self.halves.join(seen, changed.view_as(before))

    def of_changed(self, numbers: Tensor) -> Tensor:
        return numbers


class _Mask(nn.Module):
    """The places where a mask is zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", checked_mask(mask), persistent=False)
        self.changed = Places(~self.mask.flatten())
        self.dim = -mask.dim()

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[self.dim :] != self.mask.shape:
            raise ValueError(
                f"the mask is {tuple(self.mask.shape)}, but x has events of shape {tuple(x.shape[self.dim :])}"
            )
        return torch.where(self.mask, x, 0.0), self.changed.take(x.flatten(self.dim))

    def join(self, x: Tensor, changed: Tensor) -> Tensor:
        values = self.changed.put(changed, math.prod(self.mask.shape)).unflatten(-1, self.mask.shape)
        return torch.where(self.mask, x, values)

    def of_changed(self, numbers: Tensor) -> Tensor:
        return self.changed.take(numbers)
