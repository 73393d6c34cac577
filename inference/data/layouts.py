"""What the numbers of an array are: vectors, or images of some layout and number of grey levels."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from inference.data.errors import DataError

Layout = Literal["ND", "NHW", "NCHW", "NHWC"]
LAYOUTS = {"ND": 2, "NHW": 3, "NCHW": 4, "NHWC": 4}  # number of dimensions
_CHANNELS = (1, 3)
_LAST = (1, 3, 4)  # last sides that may be the channels of a single image
_SHAPES = "expected (N, D) for vectors, or (N, H, W), (N, C, H, W) or (N, H, W, C) for images"


def layout_of(shape: tuple[int, ...], dtype: np.dtype, asked: str | None, where: str) -> str:
    """The layout of an array: the one asked for, or the only one that it can have.

    Raises:
        DataError: if several are possible, or the shape is of none.
    """
    if len(shape) not in LAYOUTS.values():
        hint = ": x[:, None] makes vectors of one number" if len(shape) == 1 else ""
        raise DataError(f"{where} has the shape {shape}{hint or f': {_SHAPES}'}")
    if asked is not None:
        if LAYOUTS[asked] != len(shape):
            raise DataError(f"{where} has the shape {shape}, which is not {asked}: {_SHAPES}")
        return asked
    if len(shape) == 2:
        if dtype.kind != "f":
            raise DataError(
                f"{where} has the shape {shape} and whole numbers ({dtype}): if they are vectors, say --layout ND; "
                "if images, give them the shape (N, H, W)"
            )
        return "ND"
    if len(shape) == 3:
        if shape[2] in _LAST:
            raise DataError(
                f"{where} has the shape {shape}: say --layout NHW if these are images of {shape[1]} x {shape[2]}; a "
                f"single image of {shape[2]} channels needs the shape {(1, *shape)}"
            )
        return "NHW"
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first == last:
        raise DataError(
            f"{where} has the shape {shape}: say whether the channels come first or last, --layout NCHW/NHWC"
        )
    return "NCHW" if first else "NHWC"


def channels_first(array: np.ndarray, layout: str) -> np.ndarray:
    """Images of a layout as (N, C, H, W), without copying."""
    if layout == "NHW":
        return array[:, None]
    return np.moveaxis(array, 3, 1) if layout == "NHWC" else array


@dataclass(frozen=True)
class Values:
    """What values an array holds: smallest, largest, and whether all are whole numbers, n/255, or 0 and 255 alone."""

    low: float
    high: float
    whole: bool
    of_255: bool
    two: bool

    def __or__(self, other: "Values") -> "Values":
        return Values(
            min(self.low, other.low),
            max(self.high, other.high),
            self.whole and other.whole,
            self.of_255 and other.of_255,
            self.two and other.two,
        )


def values_of(parts: Iterable[np.ndarray]) -> Values:
    """What values the parts of an array hold; a NaN among them makes the smallest NaN."""
    found: Values | None = None
    for part in parts:
        low, high = float(part.min()), float(part.max())
        floats = part.dtype.kind == "f" and np.isfinite(low) and np.isfinite(high)
        whole = not floats or bool((part == np.round(part)).all())
        two = all(((row == 0) | (row == 255)).all() for row in part)
        here = Values(low, high, whole, floats and low >= 0 and high <= 1 and _are_of_255(part), two)
        found = here if found is None else found | here
        if not np.isfinite(low + high):
            return replace(found, low=np.nan)
    assert found is not None
    return found


def levels_of(values: Values, dtype: np.dtype, asked: int | None, where: str) -> int:
    """The number of grey levels of images: the one asked for, or the only one that their values leave open.

    Raises:
        DataError: if several are possible, or the values are no grey levels.
    """
    low, high = values.low, values.high
    if not np.isfinite(low) or low < 0 or high > 255 or (high > 1 and not values.whole):
        what = "values that are not finite" if not np.isfinite(low) else f"values from {low:g} to {high:g}"
        raise DataError(f"{where} holds {what}: expected intensities from 0 to 1, or grey levels from 0 to 255")
    if asked is not None:
        if high >= asked and not (asked == 2 and values.two) and not are_intensities(values, dtype):
            raise DataError(f"{where} holds grey levels up to {high:g}, too many for --levels {asked}")
        return asked
    if values.whole and high <= 1:
        return 2
    if values.two:
        raise DataError(f"{where} holds 0 and 255 alone: say --levels 2 if they are black and white, or --levels 256")
    if values.of_255 or high > 127:
        return 256
    if high > 1:
        raise DataError(
            f"{where} holds grey levels up to {high:g}: say how many there are, such as --levels {high + 1:g}"
        )
    raise DataError(f"{where} holds intensities that are not multiples of 1/255: say how many there are, --levels 256")


def are_intensities(values: Values, dtype: np.dtype) -> bool:
    """Whether values are intensities from 0 to 1: floats of at most 1; all others are grey levels already."""
    return dtype.kind == "f" and values.high <= 1


def grey_levels(array: np.ndarray, levels: int, values: Values) -> np.ndarray:
    """Grey levels as uint8, from themselves, from intensities, or from 0 and 255 for two levels."""
    if levels == 2 and values.two:
        return (array > 0).astype(np.uint8)
    intensities = are_intensities(values, array.dtype)
    return (np.round(array * array.dtype.type(levels - 1)) if intensities else array).astype(np.uint8)


def _are_of_255(part: np.ndarray) -> bool:
    scaled = part * part.dtype.type(255)
    return bool((np.abs(scaled - np.round(scaled)) <= max(1e-4, 255 * float(np.finfo(part.dtype).eps))).all())
