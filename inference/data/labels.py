"""Labels of a data set, and its batches."""

from collections.abc import Iterator

import torch
from torch import Tensor


def check_labels(name: str, labels: Tensor | None, count: int, conditional: bool, classes: int | None) -> None:
    """Check that there is one label for each observation, and whole numbers where a model is to see them.

    Raises:
        ValueError: if not.
    """
    if labels is None:
        if conditional:
            raise ValueError(f"{name}: a conditional model needs labels, and there are none")
        return
    if labels.shape != (count,):
        raise ValueError(
            f"{name}: there must be one label for each of {count} observations, of shape ({count},); got "
            f"{tuple(labels.shape)} (leave them out where there are none)"
        )
    if conditional and (labels.is_floating_point() or int(labels.min()) < 0):
        raise ValueError(f"{name}: labels must be whole numbers of at least 0 for a conditional model")
    if classes is not None and int(labels.max()) >= classes:
        raise ValueError(f"{name}: labels must be below classes = {classes}; the largest is {int(labels.max())}")


def count_of(labels: Tensor | None, classes: int | None) -> int:
    """The number of classes: the one given, or one more than the largest label; 0 without labels."""
    if labels is None:
        return 0
    return int(labels.max()) + 1 if classes is None else classes


def numbered(*labels: Tensor | None) -> tuple[list[Tensor | None], list[int] | None]:
    """Labels as 0 to K - 1 in sorted order, and what they were, None if they were these already."""
    distinct = torch.cat([part for part in labels if part is not None] or [torch.arange(0)]).unique()
    if torch.equal(distinct, torch.arange(len(distinct))):
        return list(labels), None
    return [None if part is None else torch.searchsorted(distinct, part) for part in labels], distinct.tolist()


def batches_of(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """The indices of each batch; the last may be short.

    Raises:
        ValueError: if ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    yield from order.split(batch_size)
