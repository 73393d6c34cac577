"""Checks of images and of what the parts of a pair return, with errors that name the part."""

from typing import Any

from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_models.distributions.quantization import check_pixels


def check_images(x: Tensor | None, levels: int | None) -> None:
    """Check that the pixels of observed images are whole numbers from 0 to levels - 1, if Pyro's validation is on.

    Raises:
        ValueError: if not: the density of other values means nothing.
    """
    if x is not None and levels is not None and is_validation_enabled():
        check_pixels(x, levels)


def checked_distribution(output: Any, part: nn.Module) -> Any:
    """The output of a prior, flow or likelihood, which must be a distribution over events.

    Raises:
        TypeError: if it is not a distribution.
        ValueError: if it has no event dimensions.
    """
    name = type(part).__name__
    if not isinstance(output, Distribution):
        raise TypeError(
            f"{name}.forward() must return a distribution, such as dist.Normal(loc, scale).to_event(1); it returned "
            f"something of type {type(output).__name__}"
        )
    if not output.event_shape:
        raise ValueError(
            f"{name}.forward() returned a distribution over single numbers, of batch shape "
            f"{tuple(output.batch_shape)}: add .to_event(1) to make a code one event, .to_event(3) for an image"
        )
    return output


def checked_tensor(output: Any, part: nn.Module, size: int | None = None) -> Tensor:
    """The output of a network, which must be a tensor, with ``size`` numbers in the last dimension if given.

    Raises:
        TypeError: if it is not a tensor.
        ValueError: if its last dimension has another size.
    """
    name = type(part).__name__
    if not isinstance(output, Tensor):
        raise TypeError(f"{name}.forward() must return a tensor; it returned something of type {type(output).__name__}")
    if size is not None and output.shape[-1:] != (size,):
        raise ValueError(
            f"{name}.forward() must return {size} numbers for each image, its out_features; it returned shape "
            f"{tuple(output.shape)}"
        )
    return output
