"""An epoch on images in memory: ``fit``, a plain loop by hand, and NumPyro; batches are binarised anew."""

from collections.abc import Iterator
from functools import partial

import torch
import vae_peers as peers
from ours import OURS, epoch
from timing import Group, Program, side_by_side
from torch import Tensor

from inference import Images, Settings

IMAGES, BATCH, EPOCHS = 20_000, 100, 4
HAND, BEST = "PyTorch by hand", "PyTorch by hand, at its best"
BINARY, GREY = "NumPyro, an epoch in one jit, on binary pixels", "NumPyro, an epoch in one jit, binarising"
ALONE = "this project, its steps alone"
GOALS = {HAND: 0.55, BEST: 1.0, BINARY: 1.2, GREY: 1.0}


class Binarised:
    """Batches in a new order, drawn anew, whenever they are iterated over."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __iter__(self) -> Iterator[Tensor]:
        for index in torch.randperm(len(self.pixels)).split(BATCH):
            yield torch.bernoulli(self.pixels[index].float() / 255)


def numpyro_epoch(pixels: Tensor, binary: bool) -> Program:
    """One compiled loop that gathers each batch, and binarises it unless the pixels are ``binary``."""
    import jax
    import numpy as np

    svi, images = peers.numpyro_svi(), jax.numpy.asarray(pixels.numpy())
    first = jax.numpy.zeros((BATCH, peers.PIXELS))
    state, key = svi.init(jax.random.PRNGKey(0), first), jax.random.key(1, impl="rbg")
    orders = np.random.default_rng(0)

    def step(carry, index):  # type: ignore[no-untyped-def]
        state, key = carry
        key, draw = jax.random.split(key)
        x = images[index].astype(float)
        state, loss = svi.update(state, x if binary else jax.random.bernoulli(draw, x / 255).astype(float))
        return (state, key), loss

    steps = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order))

    def run() -> None:
        nonlocal state, key
        (state, key), losses = steps((state, key), orders.permutation(len(pixels)).reshape(-1, BATCH))
        losses.block_until_ready()

    return run


def measure(seconds: float) -> list[Group]:
    grey = torch.rand(IMAGES, peers.PIXELS) * (torch.rand(IMAGES, peers.PIXELS) < 0.2)
    pixels = (255 * grey).round().byte()
    bits = torch.bernoulli(grey).byte()
    images = Images("random pixels", pixels.unflatten(1, peers.SHAPE), binarisation="dynamic")
    settings = Settings(epochs=EPOCHS, batch_size=BATCH, lr=peers.LR, compile="on", device="cpu")
    programs: dict[str, Program] = {
        OURS: lambda: epoch(*peers.pair(), images, settings),
        ALONE: peers.this_project(bits.float().unflatten(0, (-1, BATCH))),
        HAND: peers.by_hand(Binarised(pixels)),
        BEST: peers.by_hand(Binarised(pixels), best=True),
    }
    for name, make in {BINARY: partial(numpyro_epoch, bits, True), GREY: partial(numpyro_epoch, pixels, False)}.items():
        try:
            programs[name] = make()
        except ImportError as error:
            print(f"skipping {name}: {error}")
    times = side_by_side(programs, seconds, warm_up=1)
    group = Group(f"epoch of a VAE on {IMAGES:,} images in memory, batch {BATCH}", times)
    for other in (*GOALS, ALONE):
        group.compare(OURS, other, GOALS.get(other))
    return [group]
