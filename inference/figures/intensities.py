"""Pixels as intensities from 0 to 1."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from inference.data.protocol import DataSet


def levels_of(data: DataSet) -> int | None:
    """The number of values of a pixel as programs see it; None if the data do not say."""
    of_any: Any = data
    return 2 if getattr(data, "binarisation", "none") != "none" else getattr(of_any, "levels", None)


def intensities(images: Tensor, model: Callable, data: DataSet | None = None) -> Tensor:
    """Images as programs see or draw them, (N, C, H, W), with values from 0 to 1.

    Raises:
        ValueError: if neither the data nor the model say how many levels a pixel has.
    """
    levels = getattr(model, "levels", None) if data is None else levels_of(data)
    if levels is None:
        raise ValueError("the range of the pixels is unknown: give data with an attribute levels, such as Images")
    return images / (levels - 1)
