"""The affine coupling layer of RealNVP, on halves or under a mask."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from pyro_models.places import Places
from pyro_models.sizes import checked_shape
from pyro_models.transforms.bijector import Bijector, ConditionedBijector
from pyro_models.transforms.halves import Halves
from pyro_models.transforms.log_scales import bounded, check_bound


class AffineCoupling(Bijector):
    r"""Affine coupling: one half of an event scales and shifts the other.

    With :math:`x = (x_a, x_b)`, two halves of equal size,

    .. math::
        y_a = x_a, \qquad y_b = e^{s(x_a)} \odot x_b + t(x_a)

    and, inversely, :math:`x_b = e^{-s(y_a)} \odot (y_b - t(y_a))`.  The Jacobian is triangular:

    .. math::
        \log |\det J_f(x)| = \sum_j s(x_a)_j, \qquad
        \log |\det J_{f^{-1}}(y)| = -\sum_j s(y_a)_j.

    Shapes: an event is (D,), or (C, H, W) with ``dim=-3`` to split the channels; log-determinants
    have the batch shape, in nats.

    Args:
        conditioner: a module that maps :math:`x_a` to the pair (raw log scale, shift), each of
            :math:`x_a`'s shape: :class:`~pyro_models.networks.MLP` with ``out_features=(D/2, D/2)``, or
            :class:`~pyro_models.networks.Parallel` of two separate networks.
        bound: b in :math:`s = b \tanh(\mathrm{raw} / b)`, so that :math:`|s| < b` however large a
            training step is; ``None`` uses the raw log scale.
        dim: the dimension to split, negative; it is the first dimension of an event.
        swap: transform the first half given the second.

    Raises:
        ValueError: if the split dimension is odd, ``bound`` is not positive, or ``dim`` not negative.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    equations 4 to 8; channel-wise, section 3.4.

    Example:
        >>> import torch
        >>> from pyro_models import MLP, AffineCoupling
        >>> coupling = AffineCoupling(MLP(2, (2, 2), hidden=[10]))
        >>> x = torch.randn(5, 4)
        >>> y, log_det = coupling.forward_and_log_det(x)
        >>> torch.equal(y[:, :2], x[:, :2]), log_det.shape
        (True, torch.Size([5]))
    """

    def __init__(self, conditioner: nn.Module, bound: float | None = 2.0, dim: int = -1, swap: bool = False) -> None:
        super().__init__()
        check_bound(bound)
        if dim >= 0:
            raise ValueError(f"dim counts from the right and must be negative; got {dim}")
        self.conditioner = conditioner
        self.bound = bound
        self.halves = Halves(dim, swap)
        self.domain = self.codomain = constraints.independent(constraints.real, -dim)

    def condition(self, context: Tensor) -> ConditionedBijector:
        """The coupling whose conditioner is called with (x_a, context)."""
        return ConditionedBijector(self, context)

    def log_scale_and_shift(self, x_a: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """s(x_a) and t(x_a), each of x_a's shape."""
        raw, shift = _pair(self.conditioner(x_a) if context is None else self.conditioner(x_a, context))
        _check_shapes(raw, shift, x_a, self.halves.dim)
        return bounded(raw.to(x_a.dtype), self.bound), shift.to(x_a.dtype)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x_a, x_b = self.halves.split(x)
        log_scale, shift = self.log_scale_and_shift(x_a, context)
        return self.halves.join(x_a, x_b * log_scale.exp() + shift), self._sum(log_scale)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y_a, y_b = self.halves.split(y)
        log_scale, shift = self.log_scale_and_shift(y_a, context)
        return self.halves.join(y_a, (y_b - shift) * (-log_scale).exp()), -self._sum(log_scale)

    def _sum(self, log_scale: Tensor) -> Tensor:
        return log_scale.flatten(self.halves.dim).sum(-1)


class MaskedCoupling(Bijector):
    r"""Affine coupling with any binary mask: the coordinates under the mask scale and shift the others.

    .. math::
        y = m \odot x + (1 - m) \odot (e^{s(m \odot x)} \odot x + t(m \odot x))

    .. math::
        \log |\det J_f(x)| = \sum_j (1 - m_j)\, s(m \odot x)_j = -\log |\det J_{f^{-1}}(y)|

    For vectors of at least ``shortest_divided`` coordinates an :class:`~pyro_models.networks.MLP` multiplies
    only those under the mask, and computes only the outputs that are used.  In shorter vectors this
    would save no time; other networks are called with the masked event.

    Shapes: an event has the mask's shape; log-determinants have the batch shape, in nats.

    Args:
        mask: ones where x passes unchanged, zeros where it is transformed; do not change it afterwards.
        conditioner: a module that maps masked events to the pair (raw log scale, shift), each of the
            event's shape.
        bound: as for :class:`AffineCoupling`.

    Raises:
        ValueError: if the mask does not hold both zeros and ones and nothing else, or does not fit x.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    equation 9 and section 3.4.
    """

    mask: Tensor
    shortest_divided = 64  # below, taking the parts costs the time that it saves

    def __init__(self, mask: Tensor, conditioner: nn.Module, bound: float | None = 2.0) -> None:
        super().__init__()
        check_bound(bound)
        self.register_buffer("mask", checked_mask(mask), persistent=False)
        divided = mask.dim() == 1 and len(mask) >= self.shortest_divided
        self.parts = nn.ModuleList(Places(part) for part in (self.mask, ~self.mask) if divided)
        self.conditioner = conditioner
        self.bound = bound
        self.domain = self.codomain = constraints.independent(constraints.real, mask.dim())

    def condition(self, context: Tensor) -> ConditionedBijector:
        """The coupling whose conditioner is called with (masked x, context)."""
        return ConditionedBijector(self, context)

    def log_scale_and_shift(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """s and t given the coordinates of x under the mask; zero where the mask is one."""
        if x.shape[-self.mask.dim() :] != self.mask.shape:
            raise ValueError(
                f"the mask is {tuple(self.mask.shape)}, but x has events of shape {tuple(x.shape[-self.mask.dim() :])}"
            )
        parts = self._from_parts(x, context)
        if parts is not None:
            return parts
        kept = torch.where(self.mask, x, 0.0)
        raw, shift = _pair(self.conditioner(kept) if context is None else self.conditioner(kept, context))
        _check_shapes(raw, shift, x, -self.mask.dim())
        log_scale = bounded(raw.to(x.dtype), self.bound)
        return log_scale.masked_fill(self.mask, 0.0), shift.to(x.dtype).masked_fill(self.mask, 0.0)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.log_scale_and_shift(x, context)
        return x * log_scale.exp() + shift, log_scale.flatten(-self.mask.dim()).sum(-1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.log_scale_and_shift(y, context)
        return (y - shift) * (-log_scale).exp(), -log_scale.flatten(-self.mask.dim()).sum(-1)

    def _from_parts(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """As :meth:`log_scale_and_shift`, by the used part of the network; None if all of it must be called."""
        network, size = cast(Any, self.conditioner), x.shape[-1]
        if not self.parts or not hasattr(network, "has_parts"):
            return None
        if not network.has_parts(size, 0 if context is None else context.shape[-1]):
            return None
        kept, changed = cast(Iterable[Places], self.parts)
        raw, shift = _pair(network.part(kept, changed, size, kept.take(x), context))
        return changed.put(bounded(raw, self.bound), size), changed.put(shift, size)


def checked_mask(mask: Tensor) -> Tensor:
    """The mask as booleans.

    Raises:
        ValueError: unless it holds both zeros and ones, and nothing else.
    """
    if set(mask.unique().tolist()) != {0, 1}:
        raise ValueError(f"a mask must hold zeros and ones, some of each; got {mask.unique().tolist()}")
    return mask.bool()


def checkerboard(image_shape: Sequence[int], odd: bool = False) -> Tensor:
    """A mask (C, H, W) that is one where row + column is even, or odd with ``odd``."""
    channels, height, width = checked_shape(image_shape)
    if height * width < 2:
        raise ValueError(f"a checkerboard needs more than one pixel; got {height} x {width} (too many scales?)")
    parity = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    return (parity == int(odd)).float().expand(channels, height, width)


def alternating(size: int, odd: bool = False) -> Tensor:
    """A mask (size,) that is one at even indices, or at odd ones with ``odd``."""
    if size < 2:
        raise ValueError(f"a mask needs at least 2 places; got {size}")
    return (torch.arange(size) % 2 == int(odd)).float()


def _pair(found: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(found, tuple | list) or len(found) != 2:
        kind = f"{len(found)} values" if isinstance(found, tuple | list) else f"one {type(found).__name__}"
        raise ValueError(
            f"the conditioner must return log scales and shifts, a pair as from MLP(size, (size, size)); got {kind}"
        )
    return found[0], found[1]


def _check_shapes(raw: Tensor, shift: Tensor, x: Tensor, dim: int) -> None:
    """Check sizes: the wrong ones could broadcast and count a log scale too often."""
    expected = x.shape[dim:]
    if raw.shape[dim:] != expected or shift.shape[dim:] != expected or raw.dim() < x.dim():
        raise ValueError(
            f"the conditioner must return log scales and shifts of shape {tuple(expected)} each; "
            f"got {tuple(raw.shape)} and {tuple(shift.shape)} for {tuple(x.shape)}"
        )
