"""Whether values lie in the support of a distribution."""

from typing import Any

from pyro.distributions import Independent, MaskedDistribution
from torch import Tensor
from torch.distributions import constraints


def in_support(fn: Any, value: Tensor) -> Tensor | None:
    """Whether each value of a batch lies in the support, or is masked; None if the support is unknown."""
    if isinstance(fn, Independent):
        inside = in_support(fn.base_dist, value)
        return inside if inside is None else inside.flatten(-fn.reinterpreted_batch_ndims).all(-1)
    if isinstance(fn, MaskedDistribution):
        inside = None if fn._mask is False else in_support(fn.base_dist, value)
        return inside if inside is None or fn._mask is True else inside | ~fn._mask
    try:
        support = fn.support
    except NotImplementedError:
        return None
    if support is None or constraints.is_dependent(support):
        return None
    inside = support.check(value)
    beyond = len(fn.event_shape) - support.event_dim  # the support is one of numbers, the events are arrays
    return inside.flatten(-beyond).all(-1) if beyond > 0 else inside


def innermost(fn: Any) -> Any:
    """The distribution without the layers that only mark event dimensions or mask it."""
    while isinstance(fn, Independent | MaskedDistribution):
        fn = fn.base_dist
    return fn
