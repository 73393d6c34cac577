"""Checks of sizes, before anything is built."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import nn


def check_at_least(low: int, **numbers: int | None) -> None:
    """Check that numbers, given by name, are at least ``low``; None always passes.

    Raises:
        ValueError: if one is smaller.
    """
    below = {name: number for name, number in numbers.items() if number is not None and number < low}
    if below:
        names = " and ".join(below)
        raise ValueError(f"{names} must be at least {low}; got {', '.join(map(str, below.values()))}")


def checked_shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) as a tuple.

    Raises:
        ValueError: unless it is three whole numbers of at least 1.
    """
    if len(image_shape) == 1:
        raise ValueError(
            f"image_shape must be (C, H, W) here; got {image_shape!r}: vectors go with MLPEncoder, MLPDecoder and "
            "GaussianVectors"
        )
    if len(image_shape) != 3 or not all(isinstance(side, int) and side >= 1 for side in image_shape):
        raise ValueError(f"image_shape must be (C, H, W), whole numbers of at least 1; got {image_shape!r}")
    channels, height, width = image_shape
    return channels, height, width


def checked_data_shape(image_shape: Sequence[int]) -> tuple[int, ...]:
    """(C, H, W) of an image or (D,) of a vector, as a tuple.

    Raises:
        ValueError: unless it is three whole numbers of at least 1, or one.
    """
    if len(image_shape) not in (1, 3) or not all(isinstance(side, int) and side >= 1 for side in image_shape):
        raise ValueError(
            f"image_shape must be (C, H, W), or (D,) for vectors, whole numbers of at least 1; got {image_shape!r}"
        )
    return tuple(image_shape)


def dtype_of(module: nn.Module) -> torch.dtype:
    """The type of a module's first floating parameter or buffer; the default type if it has none."""
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.get_default_dtype())


def features_of(encoder: nn.Module) -> int:
    """The number of features an encoder returns, its ``out_features``.

    Raises:
        TypeError: if the encoder has no such attribute.
    """
    size = getattr(encoder, "out_features", None)
    if not isinstance(size, int):
        name = type(encoder).__name__
        raise TypeError(f"an encoder must have out_features, the number of features it returns; {name} has none")
    return size


def checked_levels(levels: int) -> int:
    """The number of values of a pixel.

    Raises:
        ValueError: unless it is a whole number of at least 2.
    """
    if levels < 2 or int(levels) != levels:
        raise ValueError(f"levels must be a whole number of at least 2; got {levels}")
    return levels
