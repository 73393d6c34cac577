"""One training step of flows, here and in other libraries, with the same shapes and networks."""

from collections.abc import Callable

import flow_peers
import pyro
import torch
from pyro.infer import Trace_ELBO
from timing import Group, Program, side_by_side
from torch import Tensor, nn

from inference import CompiledELBO, ELBOWithTerms
from pyro_models import (
    MLP,
    FlowModel,
    Parallel,
    ResNet,
    UniformDequantizer,
    flip_realnvp,
    image_realnvp,
)

THIS = "this project"
LIBRARIES = {
    THIS: flow_peers.this_project,
    "Pyro's transforms": flow_peers.pyro_transforms,
    "zuko": flow_peers.zuko,
    "nflows": flow_peers.nflows,
    "normflows": flow_peers.normflows,
}


class Joined(nn.Module):
    """Two networks with concatenated outputs."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = Parallel(*networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.networks(x), dim=-1)


# comparisons: shape of x, batch, and the network of each coupling
GROUPS: dict[str, tuple[tuple[int, ...], int, Callable[[], list[nn.Module]]]] = {
    "flat, as in flip_realnvp: 4 couplings of 784, one MLP 512-512 each": (
        (784,),
        250,
        lambda: [MLP(392, 784, (512, 512)) for _ in range(4)],
    ),
    "flat, as in masked_realnvp: 6 couplings of 784, two MLPs 512-512 each": (
        (784,),
        250,
        lambda: [Joined(*(MLP(392, 392, (512, 512), "ReLU") for _ in range(2))) for _ in range(6)],
    ),
    "channel-wise: 6 couplings of 4 x 14 x 14, ResNet of 32 channels and 2 blocks each": (
        (4, 14, 14),
        64,
        lambda: [ResNet(2, 4, 32, 2) for _ in range(6)],
    ),
}
# whole models of this project, to see what compilation gains
OWN = {
    "flip_realnvp": lambda: flip_realnvp((1, 28, 28)),
    "image_realnvp, 16 channels, 2 blocks": lambda: image_realnvp((1, 28, 28), 16, 2),
}


def training_step(density: nn.Module, x: Tensor, bf16: bool = False) -> Program:
    optimizer = torch.optim.Adam(density.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            loss = -density(x.clone()).mean()  # a new tensor, so that no cache of the last step is used
        loss.backward()
        optimizer.step()

    return step


def products_alone(networks: list[nn.Module], batch: int, width: int) -> Program:
    """The networks without a flow: forward, backward and Adam, a lower bound for every library."""
    held = nn.ModuleList(networks)
    x = torch.randn(batch, width, requires_grad=True)
    return training_step(flow_peers.Density(lambda x: sum(n(x) for n in held), held), x)


def compare(name: str, seconds: float) -> Group:
    shape, batch, networks = GROUPS[name]
    x = torch.rand(batch, *shape)
    programs = {}
    for library, make in LIBRARIES.items():
        torch.manual_seed(0)
        try:
            density = make(shape, networks())
            programs[library] = training_step(density, x)
            if len(shape) == 1:
                programs[f"{library}, bf16"] = training_step(density, x, bf16=True)
        except (ImportError, NotImplementedError) as error:
            print(f"skipping {library}: {error}")
    if len(shape) == 1:
        programs["the networks alone"] = products_alone(networks(), batch, shape[0] // 2)
    group = Group(f"step of a flow: {name}; batch {batch}", side_by_side(programs, seconds))
    peers = [library for library in group.times if library in LIBRARIES and library != THIS]
    fastest = min(peers, key=lambda library: group.times[library].median)
    return group.compare(THIS, fastest, goal=0.70).compare(f"{THIS}, bf16", fastest)


def own(name: str, seconds: float) -> Group:
    """A step as in ``fit``, without and with compilation."""
    x, model = torch.randint(0, 256, (64, 1, 28, 28)).float(), FlowModel(OWN[name](), 256)
    eager = ELBOWithTerms(Trace_ELBO(), model, UniformDequantizer(256))
    with pyro.validation_enabled(False):
        eager.train()(x)  # initialises its ActNorms
    modules = {THIS: eager, f"{THIS}, compiled": CompiledELBO(eager).train()}
    times = side_by_side({name: loss_step(module, x) for name, module in modules.items()}, seconds)
    return Group(f"step of {name}; batch 64", times).compare(f"{THIS}, compiled", THIS, goal=0.75)


def loss_step(module: nn.Module, x: Tensor) -> Program:
    optimizer = torch.optim.AdamW(module.parameters(), 1e-4, weight_decay=0.0, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with pyro.validation_enabled(False):
            module(x)[0].backward()
        optimizer.step()

    return step


def measure(seconds: float) -> list[Group]:
    return [*(compare(name, seconds) for name in GROUPS), *(own(name, seconds) for name in OWN)]
