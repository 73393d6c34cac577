"""The same couplings in several libraries, with the same shapes and networks.

Each function takes one conditioner network per coupling, which maps the unchanged half to the two
parameters of the transformed half, and returns a module that maps x to log p(x).
"""

from collections.abc import Callable, Sequence

import pyro.distributions as dist
import torch
from pyro.distributions.transforms import AffineCoupling as PyroCoupling
from pyro.distributions.transforms import Permute
from torch import Tensor, nn
from torch.distributions.transforms import ReshapeTransform

from pyro_models import AffineCoupling, Flip, Flow

Shape = tuple[int, ...]  # (D,), or (C, H, W) with the channels split


class Density(nn.Module):
    """log p(x) as a module that registers the modules it uses."""

    def __init__(self, log_prob: Callable[[Tensor], Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.held = nn.ModuleList(modules)
        self.log_prob = log_prob

    def forward(self, x: Tensor) -> Tensor:
        return self.log_prob(x)


class Halves(nn.Module):
    """A network's output as the pair (shift, log scale)."""

    def __init__(self, network: nn.Module, dim: int) -> None:
        super().__init__()
        self.network = network
        self.dim = dim

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.network(x).chunk(2, dim=self.dim)
        return first, second


def this_project(shape: Shape, networks: Sequence[nn.Module]) -> Flow:
    dim = -len(shape)
    transforms = []
    for i, network in enumerate(networks):
        if dim == -1:
            transforms += [AffineCoupling(Halves(network, dim), bound=None), Flip()]
        else:
            transforms.append(AffineCoupling(Halves(network, dim), bound=None, dim=dim, swap=bool(i % 2)))
    size = int(torch.tensor(shape).prod())
    return Flow([ReshapeTransform(torch.Size([size]), torch.Size(shape)), *transforms], size)


class Flattened(nn.Module):
    """A network of images for a library that passes and expects vectors."""

    def __init__(self, network: nn.Module, shape: Shape) -> None:
        super().__init__()
        self.network = network
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.unflatten(-1, self.shape)).flatten(-len(self.shape))


def pyro_transforms(shape: Shape, networks: Sequence[nn.Module]) -> nn.Module:
    dim = -len(shape)
    seen = (shape[0] // 2, *shape[1:])
    order = torch.arange(shape[0] - 1, -1, -1)
    couplings = [PyroCoupling(shape[0] // 2, Halves(Flattened(network, seen), -1), dim=dim) for network in networks]
    transforms = [part for coupling in couplings for part in (coupling, Permute(order, dim=dim))]
    flow = dist.TransformedDistribution(dist.Normal(torch.zeros(shape), 1.0).to_event(len(shape)), transforms)
    return Density(flow.log_prob, *couplings)


def zuko(shape: Shape, networks: Sequence[nn.Module]) -> nn.Module:
    if len(shape) != 1:
        raise NotImplementedError("its couplings only take vectors")
    from zuko.flows import NICE

    flow = NICE(shape[0], transforms=len(networks), hidden_features=())
    flow.transform.transforms = nn.ModuleList(flow.transform.transforms)
    for coupling, network in zip(flow.transform.transforms, networks, strict=True):
        coupling.hyper = network
    return Density(lambda x: flow().log_prob(x), flow)


def nflows(shape: Shape, networks: Sequence[nn.Module]) -> nn.Module:
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow as NFlow
    from nflows.transforms import AffineCouplingTransform, CompositeTransform

    class Unconditional(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return self.network(x)

    first = torch.arange(shape[0]) < shape[0] // 2
    couplings = [
        AffineCouplingTransform(
            (~first if i % 2 else first).int(), lambda _seen, _given, network=network: Unconditional(network)
        )
        for i, network in enumerate(networks)
    ]
    flow = NFlow(CompositeTransform(couplings), StandardNormal(shape))
    return Density(flow.log_prob, flow)


def normflows(shape: Shape, networks: Sequence[nn.Module]) -> nn.Module:
    import normflows as nf

    layers = []
    for i, network in enumerate(networks):
        if len(shape) == 1:
            layers += [nf.flows.AffineCouplingBlock(network), nf.flows.Permute(shape[0], mode="swap")]
        else:  # its permutation only takes vectors: alternate the halves instead
            layers.append(nf.flows.AffineCouplingBlock(network, split_mode="channel_inv" if i % 2 else "channel"))
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(shape, trainable=False), layers)
    return Density(flow.log_prob, flow)
