"""What fitting and measuring use of a data set, and :class:`~inference.data.images.Images` provides."""

from collections.abc import Iterator
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class DataSet(Protocol):
    """A set of images in memory; the model and the guide see one batch of it at a time."""

    @property
    def name(self) -> str:
        """The data set and split, for messages."""

    @property
    def pixels(self) -> Tensor:
        """(N, C, H, W) uint8; by them the check before fitting picks its darkest and its brightest image."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    @property
    def levels(self) -> int:
        """The number of grey levels."""

    @property
    def binarisation(self) -> str:
        """How grey levels become bits; "none" if the programs see the levels themselves."""

    @property
    def conditional(self) -> bool:
        """Whether the programs also take labels."""

    @property
    def num_classes(self) -> int:
        """One more than the largest label; asked only of conditional data sets."""

    def __len__(self) -> int:
        """N, the number of images."""

    def to(self, device: torch.device | str) -> Self:
        """The same data set on a device."""

    def take(self, index: Tensor | slice) -> Self:
        """The images at these indices, as a data set: some are held out for validation."""

    def arguments(self, index: Tensor | slice = slice(None)) -> tuple[Tensor, ...]:
        """The arguments of model and guide, (x,) or (x, labels); random observations are drawn anew at every call."""

    def batches(self, batch_size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, ...]]:
        """The arguments of model and guide, batch by batch in the given order; the last batch may be short."""
