"""Random numbers as a function of where we are, so that a resumed run needs no generator state."""

import numpy as np
import pyro
import torch
from torch import Tensor


def seed_from(*place: int) -> int:
    """A seed below 2^32 that depends on every one of the numbers (seed, epoch, rank, ...).

    Raises:
        ValueError: if a number is negative.
    """
    if any(number < 0 for number in place):
        raise ValueError(f"a seed must be zero or a positive whole number; got {place}")
    return int(np.random.SeedSequence(place).generate_state(1)[0])


def set_seed(*place: int) -> None:
    """Seed Python, NumPy, torch and Pyro for one place in a run: (seed, epoch, rank, stream)."""
    pyro.set_rng_seed(seed_from(*place))


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's random number generators, by device; those of one place in an epoch."""
    states = {"cpu": torch.get_rng_state()}
    return states if device.type == "cpu" else {**states, device.type: torch.get_device_module(device).get_rng_state()}


def restore_generators(states: dict[str, Tensor]) -> None:
    """Go on with the random numbers where :func:`generator_states` was called."""
    for device, state in states.items():
        (torch if device == "cpu" else torch.get_device_module(device)).set_rng_state(state)


def epoch_order(num_images: int, seed: int, epoch: int, rank: int = 0, world_size: int = 1) -> Tensor:
    """The indices that one process visits in one epoch, in order.

    All processes shuffle alike and take every ``world_size``-th index, so that together they visit
    each image once; a remainder of fewer than ``world_size`` images is left out that epoch.

    Raises:
        ValueError: if a number is negative, or there is no such process.
    """
    if num_images < 0 or not 0 <= rank < world_size:
        raise ValueError(f"there is no process {rank} of {world_size}, or the number of images is {num_images}")
    generator = torch.Generator().manual_seed(seed_from(seed, epoch))
    order = torch.randperm(num_images, generator=generator)
    return order[: num_images - num_images % world_size][rank::world_size]
