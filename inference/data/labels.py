"""Labels of a data set, and its batches."""

from collections.abc import Iterator

from torch import Tensor


def check_labels(name: str, labels: Tensor | None, count: int, conditional: bool) -> None:
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


def batches_of(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """The indices of each batch; the last may be short.

    Raises:
        ValueError: if ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    yield from order.split(batch_size)
