"""A test set from a data set that came without one."""

from typing import TypeVar

import torch

from inference.data.errors import DataError
from inference.data.protocol import DataSet
from inference.system.randomness import seed_from

Data = TypeVar("Data", bound=DataSet)


def split(data: Data, test_fraction: float, seed: int) -> tuple[Data, Data]:
    """The data without a random part, and that part, each in the order of the data.

    Raises:
        DataError: if there is only one observation.
    """
    count = len(data)
    if count < 2:
        raise DataError(f"{data.name} holds {count} observation, too few for a training and a test set")
    num_test = min(max(round(test_fraction * count), 1), count - 1)
    order = torch.randperm(count, generator=torch.Generator("cpu").manual_seed(seed_from(seed)), device="cpu")
    is_test = torch.zeros(count, dtype=torch.bool, device="cpu")
    is_test[order[:num_test]] = True
    return data.take((~is_test).nonzero().flatten()), data.take(is_test.nonzero().flatten())
