"""``image_realnvp`` in plain PyTorch: log p(x) of integer pixels, with the networks of this project."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from pyro_models import ResNet, ScaleAndShift

LEVELS, MARGIN = 256, 1e-6


class Norm(nn.Module):
    """A scale and shift per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = -self.log_scale.sum() * x.shape[-1] * x.shape[-2]
        return (x - self.shift) * (-self.log_scale).exp(), log_det


class Checkerboard(nn.Module):
    """A coupling of the pixels of one parity, given the others."""

    seen: Tensor

    def __init__(self, shape: tuple[int, ...], odd: bool, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        parity = (torch.arange(shape[1])[:, None] + torch.arange(shape[2])) % 2
        self.register_buffer("seen", (parity == int(odd)).float())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = ((1 - self.seen) * part for part in self.network(self.seen * x))
        return (x - shift) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)


class Channels(nn.Module):
    """A coupling of one half of the channels, given the other."""

    def __init__(self, swap: bool, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.swap = swap

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, dim=1)[:: -1 if self.swap else 1]
        log_scale, shift = self.network(a)
        b = (b - shift) * (-log_scale).exp()
        return torch.cat([b, a] if self.swap else [a, b], dim=1), -log_scale.flatten(1).sum(1)


class PlainImageFlow(nn.Module):
    """log p(x + u) in nats, u uniform noise: (B, C, H, W) whole numbers to (B,)."""

    def __init__(self, shape: tuple[int, int, int], channels: int, blocks: int) -> None:
        super().__init__()

        def network(seen: int) -> nn.Module:
            return ScaleAndShift(ResNet(seen, 2 * seen, channels, blocks))

        def group(number: int, first: int) -> nn.ModuleList:
            couplings = [Checkerboard(shape, bool(i % 2), network(shape[0])) for i in range(first, first + number)]
            return _with_norms(couplings, shape[0])

        self.outer, self.inner = group(4, 0), group(3, 0)
        self.squeezed = _with_norms([Channels(bool(i % 2), network(2 * shape[0])) for i in range(3)], 4 * shape[0])

    def forward(self, x: Tensor) -> Tensor:
        p = MARGIN + (1 - 2 * MARGIN) * (x + torch.rand_like(x)) / LEVELS
        log_det = (math.log((1 - 2 * MARGIN) / LEVELS) - p.log() - (1 - p).log()).flatten(1).sum(1)
        y, log_det = _through(self.outer, p.logit(), log_det)
        y, log_det = _through(self.squeezed, pixel_unshuffle(y, 2), log_det)
        y, log_det = _through(self.inner, pixel_shuffle(y, 2), log_det)
        return log_det - 0.5 * (y.square() + math.log(2 * math.pi)).flatten(1).sum(1)


def _with_norms(couplings: Sequence[nn.Module], channels: int) -> nn.ModuleList:
    layers = [layer for coupling in couplings for layer in (coupling, Norm(channels))]
    return nn.ModuleList(layers[:-1])


def _through(layers: nn.ModuleList, y: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
    for layer in layers:
        y, part = layer(y)
        log_det = log_det + part
    return y, log_det
