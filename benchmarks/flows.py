"""One training step of flows, here and in other libraries, with the same shapes and networks.

To save time, only the library that is fastest as it comes is also timed at its best.
"""

from collections.abc import Callable
from typing import Literal

import flow_peers as peers
import torch
from ours import OURS, UNCOMPILED, steps
from products import by, by_the_faster
from timing import Group, Program, side_by_side
from torch import Tensor, nn

from inference import Settings
from inference.system.products import Products, onednn_is_accurate
from pyro_models import MLP, DensityModel, NoLatents, Parallel, ResNet

LIBRARIES = {
    "Pyro": peers.pyro_transforms,
    "zuko": peers.zuko,
    "nflows": peers.nflows,
    "normflows": peers.normflows,
}
ALONE: dict[str, Products] = {
    "the networks alone, default library": "default",
    "the networks alone, oneDNN": "onednn",
}
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
    "channel-wise: 4 couplings of 4 x 14 x 14, ResNet of 32 channels and 1 block each": (
        (4, 14, 14),
        64,
        lambda: [ResNet(2, 4, 32, 1) for _ in range(4)],
        0.60,
    ),
}


def library_step(density: nn.Module, x: Tensor, best: bool = False) -> Program:
    """A step of Adam by hand; at its best compiled, with the fused Adam and the faster products."""
    if best:
        return by_the_faster(adam_step(density, torch.compile(density), x, fused=True))
    return adam_step(density, density, x)


def adam_step(density: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor, fused: bool = False) -> Program:
    optimizer = torch.optim.Adam(density.parameters(), LR, fused=fused or None)

    def step() -> None:
        optimizer.zero_grad()
        (-log_prob(x.clone()).mean()).backward()  # a new tensor, so that no cache of the last step is used
        optimizer.step()

    return step


def step_of_fit(shape: peers.Shape, networks: list[nn.Module], x: Tensor, compile: Literal["on", "off"]) -> Program:
    pair = DensityModel(peers.this_project(shape, networks)), NoLatents()
    return steps(*pair, [x], Settings(lr=LR, compile=compile, device="cpu"))


def networks_alone(networks: list[nn.Module], x: Tensor, products: Products) -> Program:
    """The networks without a flow, with loss, gradient and the fused Adam."""
    half = x.narrow(1, 0, x.shape[1] // 2).clone().requires_grad_()
    density = peers.Density(lambda x: sum(network(x) for network in networks), *networks)
    return by(products, adam_step(density, density, half, fused=True))


def compare(name: str, seconds: float) -> Group:
    shape, batch, networks, goal = GROUPS[name]
    x = torch.rand(batch, *shape)
    programs = {
        OURS: step_of_fit(shape, networks(), x, "on"),
        UNCOMPILED: step_of_fit(shape, networks(), x, "off"),
    }
    for alone, products in ALONE.items():
        if products == "default" or onednn_is_accurate():
            programs[alone] = networks_alone(networks(), x, products)
    for library, make in LIBRARIES.items():
        try:
            programs[library] = library_step(make(shape, networks()), x)
        except (ImportError, NotImplementedError) as error:
            print(f"skipping {library}: {error}")
    trial = side_by_side({name: programs[name] for name in LIBRARIES if name in programs}, seconds / 5)
    fastest = min(trial, key=lambda name: trial[name].median)
    best = f"{fastest}, at its best"
    programs[best] = library_step(LIBRARIES[fastest](shape, networks()), x, best=True)
    group = Group(f"step of a flow: {name}; batch {batch}", side_by_side(programs, seconds))
    for other, limit in {fastest: goal, best: 1.0, UNCOMPILED: None, **dict.fromkeys(ALONE)}.items():
        group.compare(OURS, other, limit)
    return group


def measure(seconds: float) -> list[Group]:
    return [compare(name, seconds) for name in GROUPS]
