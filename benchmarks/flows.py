"""One training step of flows, here and in other libraries: same shapes, same networks, one run."""

import argparse
from collections.abc import Callable
from pathlib import Path

import flow_peers
import torch
from timing import group_record, print_group, save, side_by_side
from torch import Tensor, nn

from pyro_models import MLP, Parallel, ResNet, image_realnvp, multiscale_realnvp

THIS = "this project"
LIBRARIES = {
    THIS: flow_peers.this_project,
    "Pyro's transforms": flow_peers.pyro_transforms,
    "zuko": flow_peers.zuko,
    "nflows": flow_peers.nflows,
    "normflows": flow_peers.normflows,
}


class Joined(nn.Module):
    """Two networks whose outputs are joined."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = Parallel(*networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.networks(x), dim=-1)


# what is compared: shape of x, batch, and the network of each coupling
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
# flows that the others do not have, for the record
OWN = {
    "image_realnvp, 16 channels, 2 blocks": lambda: image_realnvp((1, 28, 28), 16, 2),
    "multiscale_realnvp, 3 scales, 16 channels, 2 blocks": lambda: multiscale_realnvp((1, 28, 28), 3, 16, 2),
}


def training_step(density: nn.Module, x: Tensor, bf16: bool = False) -> Callable[[], object]:
    optimizer = torch.optim.Adam(density.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            loss = -density(x.clone()).mean()  # a new tensor: caches of the last step must not serve this one
        loss.backward()
        optimizer.step()

    return step


def products_alone(networks: list[nn.Module], batch: int, width: int) -> Callable[[], object]:
    """The networks without a flow around them: forward, backward and Adam, the floor for everyone."""
    held = nn.ModuleList(networks)
    x = torch.randn(batch, width, requires_grad=True)
    return training_step(flow_peers.Density(lambda x: sum(n(x) for n in held), held), x)


def compare(name: str, repeats: int) -> dict[str, object]:
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
            print(f"without {library}: {error}")
    if len(shape) == 1:
        programs["the networks alone"] = products_alone(networks(), batch, shape[0] // 2)
    times = side_by_side(programs, repeats)
    peers = [library for library in times if library in LIBRARIES and library != THIS]
    fastest = min(peers, key=lambda library: times[library].median)
    return group_record(f"{name}; batch {batch}", times, reference=fastest)


def own(repeats: int) -> dict[str, object]:
    x = torch.rand(64, 1, 28, 28)
    flows = {name: make() for name, make in OWN.items()}
    densities = {name: flow_peers.Density(lambda x, f=flow: f().log_prob(x), flow) for name, flow in flows.items()}
    times = side_by_side({name: training_step(d, x) for name, d in densities.items()}, repeats)
    return group_record("flows of this project alone; batch 64", times, reference=next(iter(times)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="timed steps of each program")
    parser.add_argument("--out", type=Path, default=Path("results/bench_flows.json"), help="file for the record")
    options = parser.parse_args()
    if options.repeats < 2:
        parser.error(f"--repeats must be at least 2; got {options.repeats}")
    groups = []
    for name in GROUPS:
        groups.append(compare(name, options.repeats))
        print_group(groups[-1])
    groups.append(own(max(2, options.repeats // 3)))
    print_group(groups[-1])
    save(options.out, groups, repeats=options.repeats)


if __name__ == "__main__":
    main()
