"""One training step of a VAE, here, by hand, in Pyro and in NumPyro, with the same shapes and batches."""

from collections.abc import Callable
from functools import partial

import torch
import vae_peers as peers
from ours import OURS, UNCOMPILED
from products import by
from timing import Group, Program, side_by_side

from inference.system.products import onednn_is_accurate

STEPS, BATCH = 20, 100
DEFAULT, ONEDNN = "products alone, default library", "products alone, oneDNN"
Maker = Callable[[torch.Tensor], Program]
OTHERS: dict[str, Maker] = {
    "PyTorch by hand": peers.by_hand,
    "PyTorch by hand, at its best": partial(peers.by_hand, best=True),
    "Pyro": peers.in_pyro,
    "Pyro, at its best": partial(peers.in_pyro, best=True),
    "NumPyro, step by step": peers.numpyro,
    "NumPyro, steps in one jit": partial(peers.numpyro, best=True),
}
GOALS = {"PyTorch by hand": 0.55, "NumPyro, steps in one jit": 0.95, ONEDNN: 1.7}
BOUNDS: dict[str, Maker] = {
    DEFAULT: peers.products_alone,
    ONEDNN: lambda batches: by("onednn", peers.products_alone(batches)),
}


def programs(batches: torch.Tensor) -> dict[str, Program]:
    made = {OURS: peers.this_project(batches), UNCOMPILED: peers.this_project(batches, compile="off")}
    bounds = BOUNDS if onednn_is_accurate() else {DEFAULT: BOUNDS[DEFAULT]}
    for name, make in {**OTHERS, **bounds}.items():
        try:
            made[name] = make(batches)
        except ImportError as error:
            print(f"skipping {name}: {error}")
    return made


def measure(seconds: float) -> list[Group]:
    batches = (torch.rand(STEPS, BATCH, peers.PIXELS) < 0.15).float()
    what = f"step of a VAE, {peers.PIXELS}-{peers.HIDDEN}-{peers.HIDDEN}-{peers.LATENT}, batch {BATCH}"
    group = Group(what, side_by_side(programs(batches), seconds), STEPS)
    for other in (*OTHERS, UNCOMPILED, *BOUNDS):
        group.compare(OURS, other, GOALS.get(other, 1.0 if other in OTHERS else None))
    return [group]
