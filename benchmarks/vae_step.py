"""One training step of a VAE, here, by hand, in Pyro and in NumPyro, with the same shapes and batches."""

import torch
import vae_peers as peers
from timing import Group, Program, side_by_side

STEPS, BATCH = 20, 100


def programs(batches: torch.Tensor) -> dict[str, Program]:
    made: dict[str, Program] = {}
    for name, make in {
        "PyTorch by hand": peers.by_hand,
        "PyTorch by hand, compiled": lambda batches: peers.by_hand(batches, compile=True),
        "Pyro SVI": peers.pyro_svi,
        "Pyro SVI, JitTrace_ELBO": peers.pyro_jit,
        "this project": peers.this_project,
        "this project, compiled": lambda batches: peers.this_project(batches, compile=True),
        "NumPyro, steps in one jit": peers.numpyro,
        "matrix products alone": peers.products_alone,
    }.items():
        try:
            made[name] = make(batches)
        except ImportError as error:
            print(f"skipping {name}: {error}")
    return made


def measure(repeats: int) -> list[Group]:
    batches = (torch.rand(STEPS, BATCH, peers.PIXELS) < 0.15).float()
    what = f"step of a VAE, {peers.PIXELS}-{peers.HIDDEN}-{peers.HIDDEN}-{peers.LATENT}, batch {BATCH}"
    group = Group(what, side_by_side(programs(batches), repeats), STEPS)
    ours = "this project, compiled"
    group.compare(ours, "PyTorch by hand", goal=0.60).compare(ours, "PyTorch by hand, compiled")
    group.compare(ours, "Pyro SVI").compare(ours, "Pyro SVI, JitTrace_ELBO").compare(ours, "this project")
    group.compare(ours, "NumPyro, steps in one jit", goal=1.0).compare(ours, "matrix products alone", goal=1.6)
    return [group]
