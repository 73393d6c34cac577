"""Whether two data sets show programs observations of the same kind."""

from typing import Any

import torch

from inference.data.protocol import DataSet


def check_alike(train: DataSet, test: DataSet) -> None:
    """Make sure that what is measured on one data set is comparable to what was fitted to the other.

    Raises:
        ValueError: if their shapes or precisions differ, only one comes with labels, or their standardisations differ.
    """
    if tuple(train.shape) != tuple(test.shape):
        raise ValueError(
            f"{train.name} holds observations of shape {tuple(train.shape)}, but {test.name} of {tuple(test.shape)}: "
            "give two data sets of the same shape"
        )
    fitted, measured = (data.arguments(slice(1))[0].dtype for data in (train, test))
    if fitted != measured:
        raise ValueError(
            f"{train.name} holds numbers of {fitted}, but {test.name} of {measured}: give both in the same precision"
        )
    if train.conditional != test.conditional:
        raise ValueError(
            f"only one of {train.name} and {test.name} shows labels: dataclasses.replace(data, conditional=True) shows "
            "those of the other too"
        )
    for name, neutral in (("loc", 0.0), ("scale", 1.0)):
        first, second = (_numbers(getattr(data, name, None), neutral) for data in (train, test))
        if not torch.equal(*torch.broadcast_tensors(first, second)):
            raise ValueError(
                f"{train.name} and {test.name} have another {name}, so that programs see them in different units: "
                "standardise(train, test) shows both alike"
            )


def _numbers(part: Any, neutral: float) -> torch.Tensor:
    return torch.as_tensor(neutral if part is None else part, dtype=torch.float64, device="cpu")
