"""How data of one's own are to be read, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from inference.data.layouts import LAYOUTS
from inference.data.protocol import DataSet


@dataclass(frozen=True)
class Reading:
    """How to read data of one's own; what is None is recognised, or asked for in one line.

    Args:
        layout: of arrays, "ND" for vectors; "NHW", "NCHW" or "NHWC" for images.
        levels: number of grey levels of images in arrays.
        label_column: of a .csv file, by its name, or its number counted from 1.
        image_size: (height, width) to which the pictures of a folder are resized.
        channels: 1 or 3; pictures of a folder are turned grey or coloured.
        test_fraction: of the observations, where no test set comes along; 0 for no test set.
        test_seed: of that split.
        standardise: whether programs see vectors with mean 0 and standard deviation 1.
        dtype: "float32" or "float64", of vectors.

    Raises:
        ValueError: if an option is none of these.
    """

    layout: str | None = None
    levels: int | None = None
    label_column: str | None = None
    image_size: Sequence[int] | None = None
    channels: int | None = None
    test_fraction: float = 0.1
    test_seed: int = 0
    standardise: bool = True
    dtype: str = "float32"

    def __post_init__(self) -> None:
        size = self.image_size
        for name, right, expected in (
            ("layout", self.layout in (None, *LAYOUTS), f"one of {', '.join(LAYOUTS)}"),
            ("levels", self.levels is None or 2 <= self.levels <= 256, "a number from 2 to 256"),
            (
                "image_size",
                size is None or (len(size) == 2 and min(size) > 0),
                "two positive numbers, height and width",
            ),
            ("channels", self.channels in (None, 1, 3), "1 or 3"),
            ("test_fraction", 0 <= self.test_fraction < 1, "at least 0 and below 1"),
            ("test_seed", self.test_seed >= 0, "a whole number of at least 0"),
            ("dtype", self.dtype in ("float32", "float64"), "float32 or float64"),
        ):
            if not right:
                raise ValueError(f"{name} must be {expected}; got {getattr(self, name)!r}")


class Found(NamedTuple):
    """Data as they were read: a test set may still be drawn from them, and vectors are not yet standardised."""

    train: DataSet
    test: DataSet | None = None
    origin: str | None = None  # of the test set
    sha256: str | None = None
    size: int | None = None  # bytes
    layout: str | None = None
    classes: list[str] | None = None
    notes: Sequence[str] = ()  # what else was understood, in words
