"""What parts return, checked where it is used: a user's own part is told what was expected of it."""

from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution


def returned_distribution(found: Any, part: nn.Module) -> Any:
    """What a prior or a flow has returned, if it is a distribution of events.

    Raises:
        TypeError: if it is no distribution.
        ValueError: if it has no event dimensions.
    """
    name = type(part).__name__
    if not isinstance(found, Distribution):
        raise TypeError(
            f"{name}.forward() must return a distribution, such as dist.Normal(loc, scale).to_event(1); it returned "
            f"something of type {type(found).__name__}"
        )
    if not found.event_shape:
        raise ValueError(
            f"{name}.forward() returned a distribution of single numbers, of batch shape {tuple(found.batch_shape)}: "
            "add .to_event(1) to make a code one event, .to_event(3) an image"
        )
    return found


def returned_tensor(found: Any, part: nn.Module, size: int | None = None) -> Tensor:
    """What a network has returned, if it is a tensor, of ``size`` numbers in the last dimension if that is known.

    Raises:
        TypeError: if it is no tensor.
        ValueError: if it is of another size.
    """
    name = type(part).__name__
    if not isinstance(found, Tensor):
        raise TypeError(f"{name}.forward() must return a tensor; it returned something of type {type(found).__name__}")
    if size is not None and found.shape[-1:] != (size,):
        raise ValueError(
            f"{name}.forward() must return {size} numbers for each image, its out_features; it returned shape "
            f"{tuple(found.shape)}"
        )
    return found
