"""What fitting and measuring ask of a data set, as ``Images``, ``Vectors`` or a class of your own provides it."""

from collections.abc import Iterator
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class DataSet(Protocol):
    """Observations that a model and its guide see in batches; your class need not inherit from this.

    Beyond these, a data set may have what ``Images`` or ``Vectors`` have: ``levels`` and ``binarisation``, without
    which the data are real numbers; ``restore(x)``, which takes what programs draw back to the data as they came, and
    without which figures refuse data of another ``log_det`` than 0; ``labels``, by which figures colour; ``columns``,
    the names of coordinates; and ``loc`` and ``scale``, those of a standardisation, which training and test data share.
    """

    @property
    def name(self) -> str:
        """The data set and its split, for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one observation: (C, H, W) of an image, (D,) of a vector."""

    @property
    def num_dims(self) -> int:
        """The number of dimensions by which nats are divided for bits per dimension."""

    @property
    def log_det(self) -> float:
        """log |det J| of the map from the data as they came to what programs see, in nats; 0 if that is the same.

        The densities that programs give are those of what they see; with this added they are those of the data.
        """

    @property
    def conditional(self) -> bool:
        """Whether the programs also take labels."""

    @property
    def num_classes(self) -> int:
        """One more than the largest label; asked only of conditional data sets."""

    def __len__(self) -> int:
        """N, the number of observations."""

    def to(self, device: torch.device | str) -> Self:
        """The same data set, whose batches are on a device."""

    def take(self, index: Tensor | slice) -> Self:
        """The observations at these indices, as a data set: some are held out for validation."""

    def extremes(self) -> Tensor:
        """Indices of a few observations that show the range of the data; a pair is tried on them before fitting."""

    def arguments(self, index: Tensor | slice = slice(None)) -> tuple[Tensor, ...]:
        """The arguments of model and guide, (x,) or (x, labels); random observations are drawn anew at every call."""

    def batches(self, batch_size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, ...]]:
        """The arguments of model and guide, batch by batch in the given order; the last batch may be short."""
