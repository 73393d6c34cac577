"""One training step of flows, here and in other libraries, with the same shapes and networks.

To save time, only the two libraries that are fastest as they come are also timed at their best.
"""

from collections.abc import Callable
from typing import Literal

import flow_peers as peers
import torch
from ours import OURS, UNCOMPILED, steps
from products import by_the_faster
from timing import Group, Program, Times, side_by_side
from torch import Tensor, nn

from inference import Settings
from pyro_models import MLP, DensityModel, NoLatents, Parallel, ResNet

LIBRARIES = {
    "Pyro": peers.pyro_transforms,
    "zuko": peers.zuko,
    "nflows": peers.nflows,
    "normflows": peers.normflows,
}
ALONE, ALONE_AT_BEST = "the networks alone", "the networks alone, at their best"
LR = 1e-4


class Joined(nn.Module):
    """Two networks with concatenated outputs."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = Parallel(*networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.networks(x), dim=-1)


# comparisons: shape of x, batch, the network of each coupling, and the goal
GROUPS: dict[str, tuple[peers.Shape, int, Callable[[], list[nn.Module]], float]] = {
    "flat, as in flip_realnvp: 4 couplings of 784, one MLP 512-512 each": (
        (784,),
        250,
        lambda: [MLP(392, 784, (512, 512)) for _ in range(4)],
        0.60,
    ),
    "flat, as in masked_realnvp: 6 couplings of 784, two MLPs 512-512 each": (
        (784,),
        250,
        lambda: [Joined(*(MLP(392, 392, (512, 512), "ReLU") for _ in range(2))) for _ in range(6)],
        0.45,
    ),
    "channel-wise: 6 couplings of 4 x 14 x 14, ResNet of 32 channels and 2 blocks each": (
        (4, 14, 14),
        64,
        lambda: [ResNet(2, 4, 32, 2) for _ in range(6)],
        0.60,
    ),
}


def at_best(library: str) -> str:
    return f"{library}, at its best"


def library_step(density: nn.Module, x: Tensor, best: bool = False) -> Program:
    """A step of Adam by hand; at its best compiled, with the fused Adam and the faster products."""
    log_prob = torch.compile(density) if best else density
    optimizer = torch.optim.Adam(density.parameters(), LR, fused=best or None)

    def step() -> None:
        optimizer.zero_grad()
        (-log_prob(x.clone()).mean()).backward()  # a new tensor, so that no cache of the last step is used
        optimizer.step()

    return by_the_faster(step) if best else step


def step_of_fit(shape: peers.Shape, networks: list[nn.Module], x: Tensor, compile: Literal["on", "off"]) -> Program:
    pair = DensityModel(peers.this_project(shape, networks)), NoLatents()
    return steps(*pair, [x], Settings(lr=LR, compile=compile, device="cpu"))


def networks_alone(networks: list[nn.Module], x: Tensor, best: bool = False) -> Program:
    """The networks without a flow, with loss, gradient and Adam."""
    half = x.narrow(1, 0, x.shape[1] // 2).clone().requires_grad_()
    return library_step(peers.Density(lambda x: sum(network(x) for network in networks), *networks), half, best)


def compare(name: str, seconds: float) -> Group:
    shape, batch, networks, goal = GROUPS[name]
    x = torch.rand(batch, *shape)
    programs = {
        OURS: step_of_fit(shape, networks(), x, "on"),
        UNCOMPILED: step_of_fit(shape, networks(), x, "off"),
        ALONE: networks_alone(networks(), x),
        ALONE_AT_BEST: networks_alone(networks(), x, best=True),
    }
    for library, make in LIBRARIES.items():
        try:
            programs[library] = library_step(make(shape, networks()), x)
        except (ImportError, NotImplementedError) as error:
            print(f"skipping {library}: {error}")
    for library in fastest(side_by_side({name: programs[name] for name in LIBRARIES if name in programs}, 1.0)):
        programs[at_best(library)] = library_step(LIBRARIES[library](shape, networks()), x, best=True)
    times = side_by_side(programs, seconds)
    group = Group(f"step of a flow: {name}; batch {batch}", times)
    for others, limit in ((LIBRARIES, goal), (map(at_best, LIBRARIES), 1.0)):
        group.compare(OURS, fastest({name: times[name] for name in others if name in times})[0], limit)
    return group.compare(OURS, UNCOMPILED).compare(OURS, ALONE).compare(OURS, ALONE_AT_BEST)


def fastest(times: dict[str, Times]) -> list[str]:
    """The two fastest programs."""
    return sorted(times, key=lambda name: times[name].median)[:2]


def measure(seconds: float) -> list[Group]:
    return [compare(name, seconds) for name in GROUPS]
