"""Whole commands: the default VAE trained and evaluated on MNIST, extrapolated from short runs on a fifth of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from timing import Group, Program, Times, side_by_side

from inference.system.products import better_products
from pyro_models_cli.commands.evaluate import CODES
from pyro_models_cli.commands.train_vae import TrainVAEOptions

ROOT = Path(__file__).parents[1]
SHARE, TRAIN, TEST = 5, 12_000, 2_000  # of MNIST
EPOCHS, REPEATS = (2, 10), (10, 20)  # of short runs; so many repeats are worth compiling
DEFAULT_EPOCHS, DEFAULT_REPEATS = TrainVAEOptions.epochs, CODES[1]


def command(name: str, *arguments: str) -> None:
    """Run a script with the products that it would choose if it took long."""
    script = [sys.executable, str(ROOT / "scripts" / name), *arguments, "--products", better_products()]
    subprocess.run(script, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def train(folder: str, epochs: int) -> None:
    settings = ("--epochs", str(epochs), "--compile", "on", "--device", "cpu")  # as it is in a run of default length
    command("train_vae.py", "--dataset", f"{folder}/images.npz", *settings, "--overwrite", "--out", f"{folder}/run")


def evaluate(folder: str, repeats: int) -> None:
    command("evaluate.py", f"{folder}/run", "--repeats", str(repeats), "--device", "cpu")


def programs(folder: str) -> Iterator[tuple[str, Program]]:
    for epochs in EPOCHS:
        yield f"train_vae.py, {epochs} epochs", lambda epochs=epochs: train(folder, epochs)  # type: ignore[misc]
    for repeats in REPEATS:
        yield f"evaluate.py, {repeats} repeats", lambda repeats=repeats: evaluate(folder, repeats)  # type: ignore[misc]


def extrapolated(short: Times, long: Times, sizes: tuple[int, int], to: int) -> Times:
    """Seconds at a size, on the straight line through those of two smaller sizes, repeat by repeat."""
    rates = [(b - a) / (sizes[1] - sizes[0]) for a, b in zip(short.seconds, long.seconds, strict=True)]
    return Times([a + rate * (to - sizes[0]) for a, rate in zip(short.seconds, rates, strict=True)])


def measure(seconds: float) -> list[Group]:
    rng = np.random.default_rng(0)
    size = TRAIN + TEST, 28, 28
    pixels = rng.integers(256, size=size, dtype=np.uint8) * (rng.random(size) < 0.2)
    with TemporaryDirectory() as folder:
        np.savez(f"{folder}/images.npz", x=pixels[:TRAIN], x_test=pixels[TRAIN:])
        train(folder, 1)  # compiles for the first time, as do the weights below
        evaluate(folder, min(REPEATS))
        short = Group(
            f"commands on {TRAIN:,} and {TEST:,} images of 28 x 28, defaults otherwise",
            side_by_side(dict(programs(folder)), seconds, warm_up=0, least=1),
        )
    times = list(short.times.values())
    trained = f"train_vae.py, {DEFAULT_EPOCHS} epochs"
    evaluated = f"evaluate.py, {DEFAULT_REPEATS} repeats"
    long = Group(
        "commands on MNIST with their defaults, extrapolated",
        {
            trained: extrapolated(times[0], times[1], EPOCHS, SHARE * DEFAULT_EPOCHS),
            evaluated: extrapolated(times[2], times[3], REPEATS, SHARE * DEFAULT_REPEATS),
        },
    )
    return [short, long.compare(evaluated, trained, goal=0.20)]
