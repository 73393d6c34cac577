"""What data sets of one array share: their length, their labels and their batches."""

from collections.abc import Iterator

import torch
from torch import Tensor

from inference.data.labels import batches_of, count_of
from inference.data.mapped import Mapped


class Rows:
    """Observations that are the rows of one array, with or without a label for each."""

    labels: Tensor | None
    conditional: bool
    classes: int | None

    @property
    def rows(self) -> Tensor | Mapped:
        """The array, (N, ...)."""
        raise NotImplementedError

    def observe(self, index: Tensor | slice = slice(None)) -> Tensor:
        """What programs see of the observations at these indices."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_classes(self) -> int:
        return count_of(self.labels, self.classes)

    def arguments(self, index: Tensor | slice = slice(None)) -> tuple[Tensor, ...]:
        """The arguments of model and guide: (x,), or (x, labels) for conditional ones."""
        if self.conditional and self.labels is not None:
            return self.observe(index), self.labels[index]
        return (self.observe(index),)

    def batches(self, batch_size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, ...]]:
        """The arguments of model and guide, batch by batch in the given order; the last batch may be short.

        Raises:
            ValueError: if ``batch_size`` is below 1.
        """
        device = self.rows.device
        order = torch.arange(len(self), device=device) if order is None else order.to(device)
        for index in batches_of(order, batch_size):
            yield self.arguments(index)
