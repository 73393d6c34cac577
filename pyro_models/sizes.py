"""Sizes and pixels that must make sense before anything is made of them."""

from collections.abc import Sequence

from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn


def check_at_least(low: int, **numbers: int | None) -> None:
    """Make sure that numbers, given by name, are at least ``low``; None is no number.

    Raises:
        ValueError: if one is below.
    """
    below = {name: number for name, number in numbers.items() if number is not None and number < low}
    if below:
        names = " and ".join(below)
        raise ValueError(f"{names} must be at least {low}; got {', '.join(map(str, below.values()))}")


def checked_shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) as a tuple.

    Raises:
        ValueError: if it is not three whole numbers of at least 1.
    """
    if len(image_shape) != 3 or not all(isinstance(side, int) and side >= 1 for side in image_shape):
        raise ValueError(f"image_shape must be (C, H, W), whole numbers of at least 1; got {image_shape!r}")
    channels, height, width = image_shape
    return channels, height, width


def features_of(encoder: nn.Module) -> int:
    """The size of what an encoder gives.

    Raises:
        TypeError: if it does not say.
    """
    size = getattr(encoder, "out_features", None)
    if not isinstance(size, int):
        name = type(encoder).__name__
        raise TypeError(f"an encoder must have out_features, the size of what it gives; {name} has none")
    return size


def check_pixels(x: Tensor | None, levels: int | None) -> None:
    """Make sure that images are of whole numbers from 0 to levels - 1, as far as Pyro's validation is on.

    Raises:
        ValueError: if not: the number that a density gives them means nothing.
    """
    if x is None or levels is None or not is_validation_enabled():
        return
    off = (x != x.floor()) | (x < 0) | (x > levels - 1)
    if off.any():
        raise ValueError(
            f"pixels must be {'0 or 1' if levels == 2 else f'whole numbers from 0 to {levels - 1}'}; got "
            f"{float(x[off][0]):.6g} at {int(off.sum()):,} of {off.numel():,} places"
            f"{': binarise the images' if levels == 2 else ''}"
        )
