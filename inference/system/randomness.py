"""Random numbers as a function of the position in a run, so that resuming needs no generator state."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyro
import torch
from torch import Tensor


def seed_from(*place: int) -> int:
    """A seed below 2^32 that depends on all of the numbers (seed, epoch, rank, ...).

    Raises:
        ValueError: if a number is negative.
    """
    if any(number < 0 for number in place):
        raise ValueError(f"a seed must be zero or a positive whole number; got {place}")
    return int(np.random.SeedSequence(place).generate_state(1)[0])


def set_seed(*place: int) -> None:
    """Seed Python, NumPy, torch and Pyro for one position in a run: (seed, epoch, rank, stream)."""
    pyro.set_rng_seed(seed_from(*place))


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states of the random number generators of torch, by device, of NumPy and of Python."""
    states = {"cpu": torch.get_rng_state(), "numpy": _numpy_state(), "python": _python_state()}
    if device.type not in ("cpu", "meta"):  # whose tensors hold no numbers
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def restore_generators(states: dict[str, Tensor], device: torch.device | None = None) -> None:
    """Continue the random numbers from where :func:`generator_states` was called.

    Generators without a state stay as they are, and so do those of devices other than ``device``: a
    run may continue on another one.
    """
    for name, state in states.items():
        if name == "numpy":
            *words, position, has_gauss, gauss = state.tolist()
            np.random.set_state(("MT19937", np.array(words, dtype=np.uint32), int(position), int(has_gauss), gauss))
        elif name == "python":
            *words, gauss = state.tolist()
            random.setstate((3, tuple(map(int, words)), None if math.isnan(gauss) else gauss))
        elif name == "cpu":
            torch.set_rng_state(state)
        elif device is not None and device.type == name:
            torch.get_device_module(device).set_rng_state(state, device)


def _numpy_state() -> Tensor:
    """The 624 words, the position among them, and the spare normal draw; doubles hold them all exactly."""
    state = np.random.get_state(legacy=False)
    own = state["state"]
    return torch.tensor(
        [*own["key"].tolist(), own["pos"], state["has_gauss"], state["gauss"]], dtype=torch.float64, device="cpu"
    )


def _python_state() -> Tensor:
    """Like :func:`_numpy_state`: the words and the position, and the spare normal draw, NaN for none."""
    _, words, gauss = random.getstate()
    return torch.tensor([*words, math.nan if gauss is None else gauss], dtype=torch.float64, device="cpu")


@contextmanager
def generators_as_they_were() -> Iterator[None]:
    """Restore the random number generators of torch, NumPy and Python on leaving this context.

    Those of all NVIDIA GPUs are included if this process has already used one; none is started just to ask.
    """
    others = {"numpy": _numpy_state(), "python": _python_state()}
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(gpus):
            yield
    finally:
        restore_generators(others)


def epoch_order(num_images: int, seed: int, epoch: int, rank: int = 0, world_size: int = 1) -> Tensor:
    """The indices that one process visits in one epoch, in order.

    All processes shuffle alike and take every ``world_size``-th index, so together they visit each
    image once, except for a remainder of fewer than ``world_size`` images.

    Raises:
        ValueError: if a number is negative, or the rank is not below the world size.
    """
    if num_images < 0 or not 0 <= rank < world_size:
        raise ValueError(f"there is no process {rank} of {world_size}, or the number of images is {num_images}")
    generator = torch.Generator("cpu").manual_seed(seed_from(seed, epoch))
    order = torch.randperm(num_images, generator=generator, device="cpu")
    return order[: num_images - num_images % world_size][rank::world_size]
