"""Data sets of the arrays x, y, x_test and y_test."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any, TypeVar

import numpy as np
import torch

from inference.data.errors import DataError
from inference.data.images import Images
from inference.data.labels import numbered
from inference.data.layouts import channels_first, grey_levels, layout_of, levels_of, values_of
from inference.data.mapped import Mapped, RowFile
from inference.data.reading import Found, Reading
from inference.data.vectors import Vectors

ARRAYS = ("x", "y", "x_test", "y_test")
_MOST_CLASSES = 100_000
Arrays = TypeVar("Arrays", bound=dict[str, Any])
Labelled = TypeVar("Labelled", bound=Images | Vectors)


def with_x(arrays: Arrays, source: str) -> Arrays:
    """The arrays of a .npz file, if they are a combination that makes sense."""
    if "x" not in arrays:
        raise DataError(f"{source} holds no array x: name its arrays x, and {', '.join(ARRAYS[1:])} if there are any")
    if "y_test" in arrays and "x_test" not in arrays:
        raise DataError(f"{source} holds y_test, but no x_test")
    if "x_test" in arrays and ("y" in arrays) != ("y_test" in arrays):
        raise DataError(
            f"{source} holds labels of one set and not of the other: expected both y and y_test, or neither"
        )
    return arrays


def of_arrays(
    source: str,
    reading: Reading,
    x: np.ndarray | RowFile,
    y: np.ndarray | None = None,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
) -> Found:
    """The data sets of x and x_test, with the labels y and y_test.

    Raises:
        DataError: if it is not clear what the arrays are, or they do not fit together.
        ValueError: if an option does not apply to them.
    """
    layout = layout_of(x.shape, x.dtype, reading.layout, source)
    if x_test is not None and (x_test.shape[1:] != x.shape[1:] or x_test.dtype.kind != x.dtype.kind):
        raise DataError(
            f"{source}: x and x_test differ: {x.dtype} of shape {x.shape} and {x_test.dtype} of shape {x_test.shape}"
        )
    if layout == "ND" and reading.levels is not None:
        raise ValueError(f"--levels is of images, and {source} holds vectors: leave it out")
    both = [x] if x_test is None else [x, x_test]
    sets = _vectors_of(source, both) if layout == "ND" else _images_of(source, both, layout, reading.levels)
    labels = [labels_of(y, len(sets[0]), f"y of {source}")]
    if x_test is not None:
        labels.append(labels_of(y_test, len(sets[1]), f"y_test of {source}"))
    sets, classes, notes = with_labels(sets, labels)
    test, origin = (None, None) if x_test is None else (sets[1], "x_test of the file")
    return Found(sets[0], test, origin, layout=layout, classes=classes, notes=notes)


def with_labels(
    sets: list[Labelled], labels: list[torch.Tensor | None]
) -> tuple[list[Labelled], list[str] | None, tuple[str, ...]]:
    """Data sets with labels from 0 to K - 1, the names of the classes if these were other numbers, and a note of it."""
    new, old = numbered(*labels)
    sets = [replace(data, labels=part) for data, part in zip(sets, new, strict=True)]
    if old is None:
        return sets, None, ()
    note = f"labels: {len(old)} numbers from {old[0]} to {old[-1]} became 0 to {len(old) - 1}, in their order"
    return sets, [str(label) for label in old], (note,)


def _vectors_of(source: str, arrays: list[np.ndarray | RowFile]) -> list[Images | Vectors]:
    return [Vectors(os.path.basename(source), _values(x)) for x in arrays]


def _values(x: np.ndarray | RowFile) -> torch.Tensor | Mapped:
    if isinstance(x, RowFile):
        return Mapped(x, torch.float32 if x.dtype.itemsize <= 4 and x.dtype.kind == "f" else torch.float64)
    return torch.from_numpy(x if x.dtype in (np.float32, np.float64) else x.astype(np.float64))


def _images_of(
    source: str, arrays: list[np.ndarray | RowFile], layout: str, asked: int | None
) -> list[Images | Vectors]:
    found = [x.values if isinstance(x, RowFile) else values_of(_parts(x)) for x in arrays]
    values = reduce(or_, found)
    levels = levels_of(values, arrays[0].dtype, asked, source)
    if asked is None and len({part.high <= 1 for part in found}) > 1:
        raise DataError(
            f"{source}: x holds values up to {found[0].high:g} and x_test up to {found[1].high:g}: save both in the "
            "same units, or say --levels"
        )
    pixels: list[torch.Tensor | Mapped] = []
    for x in arrays:
        if not isinstance(x, RowFile):
            grey = grey_levels(x, levels, values)
            pixels.append(torch.from_numpy(np.ascontiguousarray(channels_first(grey, layout))))
        elif levels == 2 and values.two:
            raise DataError(f"{source} holds 0 and 255, and is too large to be read whole: save them as 0 and 1")
        elif x.dtype.kind == "f":
            raise DataError(f"{source} holds {x.dtype} pixels and is too large to be read whole: save them as uint8")
        else:
            pixels.append(Mapped(x, torch.uint8, layout))
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
