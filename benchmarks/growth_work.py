"""Work of several sizes, small enough that the largest takes seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from ours import epochs, steps
from torch import Tensor, nn

from inference import Images, Run, Settings, negative_bounds, open_data
from pyro_models import (
    VAE,
    DensityModel,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NoLatents,
    StandardNormal,
    vector_realnvp,
)

SHAPE, LATENT, HIDDEN, BATCH = (1, 8, 8), 4, (64, 64), 100
PIXELS = 64
LEAST, ENOUGH = 5, 1.0  # calls, and their seconds


def vae(shape: tuple[int, int, int] = SHAPE, hidden: tuple[int, ...] = HIDDEN) -> tuple[nn.Module, nn.Module]:
    model = VAE(StandardNormal(LATENT), MLPDecoder(LATENT, shape, hidden))
    return model, MeanFieldGuide(MLPEncoder(shape, hidden), LATENT)


def images(count: int) -> Images:
    pixels = torch.randint(256, (count, *SHAPE), dtype=torch.uint8)
    return Images("random pixels", pixels, binarisation="dynamic")


def seconds_of(program: Callable[[], object]) -> list[float]:
    """Seconds of several calls, after two to warm up."""
    found: list[float] = []
    program(), program()
    while len(found) < LEAST or sum(found) < ENOUGH:
        started = time.perf_counter()
        program()
        found.append(time.perf_counter() - started)
    return found


def epoch(count: int) -> list[float]:
    settings = Settings(epochs=3, batch_size=BATCH, compile="on", device="cpu")
    return epochs(*vae(), images(count), settings)


def run_of_epochs(count: int) -> list[float]:
    """Seconds in all, without the first epoch, which compiles; every epoch writes metrics and checkpoints."""
    run = Run.create("run", {}, {"model": {}, "guide": {}})
    settings = Settings(epochs=count + 1, batch_size=BATCH, compile="on", device="cpu")
    return [sum(epochs(*vae(), images(5 * BATCH), settings, run=run))]


def step(pair: tuple[nn.Module, nn.Module], x: Tensor) -> list[float]:
    return seconds_of(steps(*pair, [x], Settings(compile="on", device="cpu")))


def step_of_width(width: int) -> list[float]:
    return step(vae(hidden=(width, width)), (torch.rand(BATCH, *SHAPE) < 0.5).float())


def step_of_dimensions(size: int) -> list[float]:
    return step((DensityModel(vector_realnvp(size, couplings=4)), NoLatents()), torch.randn(BATCH, size))


def step_of_couplings(couplings: int) -> list[float]:
    return step((DensityModel(vector_realnvp(PIXELS, couplings)), NoLatents()), torch.randn(BATCH, PIXELS))


def bounds_of_samples(m: int) -> list[float]:
    pair, data = vae(), images(BATCH)
    return seconds_of(lambda: negative_bounds(*pair, data, [m], repeats=1))


def bounds_of_images(count: int) -> list[float]:
    pair, data = vae(), images(count)
    return seconds_of(lambda: negative_bounds(*pair, data, [10], repeats=1))


def start_up(count: int) -> list[float]:
    """Nothing but imports and the opening of a file: the seconds are those of the whole process."""
    open_data(f"{count}.npy")
    return []


def write_file(count: int, folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(count, *SHAPE[1:]), dtype=np.uint8)
    np.save(folder / f"{count}.npy", pixels)


def weights(width: int) -> int:
    sizes = (PIXELS, width, width, 2 * LATENT), (LATENT, width, width, PIXELS)
    return sum((before + 1) * after for half in sizes for before, after in pairwise(half))


def itself(size: int) -> int:
    return size


@dataclass(frozen=True)
class Curve:
    """Work at several sizes.

    Args:
        size: what the sizes count.
        sizes: from the smallest to the largest.
        seconds: those of some calls at a size; none where the time is that of the whole process.
        work: what the time should be proportional to.
        held: bytes of data in memory for each unit of the size.
    """

    size: str
    sizes: tuple[int, ...]
    seconds: Callable[[int], list[float]]
    work: Callable[[int], int] = itself
    held: int = 0


CURVES = {
    "epoch of a VAE": Curve("images", (1_000, 10_000, 100_000, 1_000_000), epoch, held=PIXELS),
    "run of a VAE on 500 images": Curve("epochs", (10, 100, 1_000), run_of_epochs),
    "step of a VAE": Curve("units in each layer", (64, 256, 1024, 4096), step_of_width, weights),
    "step of vector_realnvp, 4 couplings": Curve("dimensions", (16, 64, 256, 1024, 4096), step_of_dimensions),
    "step of vector_realnvp, 64 dimensions": Curve("couplings", (2, 8, 32), step_of_couplings),
    "bound of 100 images": Curve("samples m", (10, 100, 1_000, 10_000), bounds_of_samples),
    "bound with m = 10": Curve("images", (100, 1_000, 10_000, 100_000), bounds_of_images, held=PIXELS),
    "start-up with a file": Curve("images", (1_000, 10_000, 100_000, 1_000_000), start_up, held=PIXELS),
}
