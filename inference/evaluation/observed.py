"""Observations to measure pairs on, the same for every pair."""

from collections.abc import Iterator

import torch
from torch import Tensor

from inference.data.protocol import DataSet
from inference.system.processes import rank_and_size
from inference.system.randomness import generator_states, generators_as_they_were, restore_generators, set_seed

_OBSERVATIONS = 1  # the stream of their random numbers


def observed(
    data: DataSet, batch_size: int, device: torch.device, seed: int, repeat: int
) -> Iterator[tuple[Tensor, ...]]:
    """This process's batches of the arguments of model and guide: every n-th observation, for n processes.

    Random observations, such as pixels under dynamic binarisation, have random numbers of their own.  On a CPU they
    follow from the data, the seed and the repeat alone, whatever the pair draws in between and whatever
    ``batch_size`` and the number of processes are: two pairs do not differ by the luck of their pixels.
    """
    rank, size = rank_and_size()
    batches = data.batches(batch_size * size)  # every process draws for all, and keeps its share
    with generators_as_they_were():
        set_seed(seed, repeat, 0, _OBSERVATIONS)
        states = generator_states(device)
    while True:
        with generators_as_they_were():
            restore_generators(states, device)
            batch = next(batches, None)
            states = generator_states(device)
        if batch is None:
            return
        if len(batch[0]) > rank:
            yield tuple(part[rank::size] for part in batch)
