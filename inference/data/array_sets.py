"""Data sets of the arrays x, y, x_test and y_test."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch

from inference.data.errors import DataError
from inference.data.images import Images
from inference.data.layouts import are_intensities, channels_first, grey_levels, layout_of, levels_of, values_of
from inference.data.reading import Found, Reading
from inference.data.vectors import Vectors

ARRAYS = ("x", "y", "x_test", "y_test")
_MOST_CLASSES = 100_000
Arrays = TypeVar("Arrays", bound=dict[str, Any])


def with_x(arrays: Arrays, source: str) -> Arrays:
    """The arrays of a .npz file, if they are a combination that makes sense."""
    if "x" not in arrays:
        raise DataError(f"{source} holds no array x: expected x, and optionally {', '.join(ARRAYS[1:])}")
    if "y_test" in arrays and "x_test" not in arrays:
        raise DataError(f"{source} holds y_test, but no x_test")
    if "x_test" in arrays and ("y" in arrays) != ("y_test" in arrays):
        raise DataError(
            f"{source} holds labels of one set and not of the other: expected both y and y_test, or neither"
        )
    return arrays


def of_arrays(source: str, arrays: dict[str, np.ndarray], reading: Reading) -> Found:
    """The data sets of x and x_test, with the labels y and y_test.

    Raises:
        DataError: if it is not clear what the arrays are, or they do not fit together.
        ValueError: if an option does not apply to them.
    """
    x, x_test = arrays["x"], arrays.get("x_test")
    layout = layout_of(x.shape, x.dtype, reading.layout, source)
    if x_test is not None and (x_test.shape[1:] != x.shape[1:] or x_test.dtype.kind != x.dtype.kind):
        raise DataError(
            f"{source}: x and x_test differ: {x.dtype} of shape {x.shape} and {x_test.dtype} of shape {x_test.shape}"
        )
    if layout == "ND" and reading.levels is not None:
        raise ValueError(f"--levels is of images, and {source} holds vectors: leave it out")
    both = [x] if x_test is None else [x, x_test]
    sets = _vectors_of(source, both) if layout == "ND" else _images_of(source, both, layout, reading.levels)
    for i, y in enumerate(("y", "y_test")[: len(sets)]):
        sets[i] = replace(sets[i], labels=labels_of(arrays.get(y), len(sets[i]), f"{y} of {source}"))
    if x_test is None:
        return Found(sets[0], layout=layout)
    return Found(sets[0], sets[1], "x_test of the file", layout=layout)


def _vectors_of(source: str, arrays: list[np.ndarray]) -> list[Images | Vectors]:
    kept = (np.float32, np.float64)
    tensors = [torch.from_numpy(x if x.dtype in kept else x.astype(np.float64)) for x in arrays]
    return [Vectors(os.path.basename(source), values) for values in tensors]


def _images_of(source: str, arrays: list[np.ndarray], layout: str, asked: int | None) -> list[Images | Vectors]:
    dtype = arrays[0].dtype
    values = values_of(part for x in arrays for part in _parts(x))
    levels = levels_of(values, dtype, asked, source)
    intensities = are_intensities(values, dtype)
    pixels = [
        torch.from_numpy(np.ascontiguousarray(channels_first(grey_levels(x, levels, intensities), layout)))
        for x in arrays
    ]
    return [Images(os.path.basename(source), part, levels=levels) for part in pixels]


def _parts(array: np.ndarray, rows_of: int = 2**24) -> Sequence[np.ndarray]:
    """An array in pieces of about 16 MB, so that what is computed from each stays small."""
    count = max(1, rows_of * len(array) // array.nbytes)
    return [array[first : first + count] for first in range(0, len(array), count)]


def labels_of(y: np.ndarray | None, count: int, where: str) -> torch.Tensor | None:
    """Labels as whole numbers, one for each observation."""
    if y is None:
        return None
    if y.shape != (count,):
        hint = " (y[:, 0] has one for each row)" if y.shape == (count, 1) else ""
        raise DataError(f"{where}: expected {count} labels, of shape ({count},); got {y.shape}{hint}")
    whole = y.dtype.kind != "f" or bool((y == np.round(y)).all())  # NaN is not
    if not whole or np.abs(y.astype(np.float64)).max() >= _MOST_CLASSES:
        raise DataError(f"{where}: labels must be whole numbers below {_MOST_CLASSES:,}")
    return torch.from_numpy(y.astype(np.int64))
