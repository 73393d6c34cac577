"""Checks of question 3. Each asks one function of the notebook, and gives it networks and helpers that are right."""

import math
from collections.abc import Callable

import torch
from feedback import compare, replaced, seeded, unpacked
from torch import Tensor, nn
from torch.autograd.functional import jacobian

PAIRS = 4
PARTS = ("y", "log-determinant")


class Linear(nn.Module):
    """s and t with random weights."""

    def __init__(self, half: int) -> None:
        super().__init__()
        self.layer = nn.Linear(half, 2 * half)

    def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.layer(a).chunk(2, dim=-1)
        return s.tanh(), 2 * t


def forwards(x: Tensor, network: Callable) -> tuple[Tensor, Tensor]:
    """The coupling as it should be."""
    a, b = x.chunk(2, dim=-1)
    s, t = network(a)
    return torch.cat([a, s.exp() * b + t], dim=-1), s.sum(-1)


def backwards(y: Tensor, network: Callable) -> Tensor:
    """Its inverse."""
    a, b = y.chunk(2, dim=-1)
    s, t = network(a)
    return torch.cat([a, (b - t) / s.exp()], dim=-1)


def reverse(x: Tensor) -> Tensor:
    return x.flip(-1)


def coupling_forward(answer: Callable, batch: int = 5, size: int = 6, seed: int = 0) -> None:
    """The values of the coupling."""
    with seeded(seed):
        network, x = Linear(size // 2), torch.randn(batch, size)
    y, _ = unpacked("coupling_forward", answer(x, network), PARTS)
    a, b = x.chunk(2, dim=-1)
    (s, t), (s_b, t_b) = network(a), network(b)
    right, _ = forwards(x, network)
    swapped = s_b.exp() * a + t_b
    mistakes = [
        ("the halves are swapped: the first half stays, the second is scaled and shifted", torch.cat([swapped, b], -1)),
        ("the halves are swapped: the first half stays, the second is scaled and shifted", torch.cat([b, swapped], -1)),
        ("the halves are joined in the wrong order: y = (y_a, y_b)", torch.cat([right[:, size // 2 :], a], -1)),
        ("the scale is exp(s), not s", torch.cat([a, s * b + t], -1)),
        ("that is the inverse: y_b = exp(s) x_b + t", torch.cat([a, (b - t) / s.exp()], -1)),
        ("the shift comes after the scale: y_b = exp(s) x_b + t", torch.cat([a, s.exp() * (b + t)], -1)),
        (
            "s and t are taken from the second half; they may depend on the first only",
            torch.cat([a, s_b.exp() * b + t_b], -1),
        ),
    ]
    compare("y", y, right, mistakes, "It is (x_a, exp(s(x_a)) x_b + t(x_a)).")


def coupling_log_det(answer: Callable, batch: int = 5, size: int = 6, seed: int = 0) -> None:
    """The log-determinant, against that of the function's own Jacobian."""
    with seeded(seed):
        network, x = Linear(size // 2), torch.randn(batch, size)
    _, log_det = unpacked("coupling_forward", answer(x, network), PARTS)

    def of_one(v: Tensor) -> Tensor:
        return answer(v[None], network)[0][0]

    right = torch.stack([torch.linalg.slogdet(jacobian(of_one, row)).logabsdet for row in x])
    mistakes = [
        ("the wrong sign; it is the log-determinant of y with respect to x", -right),
        ("the determinant itself; its log is asked for", right.exp()),
        ("the mean over the coordinates, where the sum is asked for", right / (size // 2)),
        ("the sum over the batch too; one number for each image is asked for", right.sum()),
    ]
    hint = "It is log |det| of the matrix of dy/dx, one number for each image: see Q3c."
    compare("the log-determinant", log_det, right, mistakes, hint)


def coupling_inverse(answer: Callable, batch: int = 5, size: int = 6, seed: int = 0) -> None:
    """The x behind a y that is known."""
    with seeded(seed):
        network, x = Linear(size // 2), torch.randn(batch, size)
    y, _ = forwards(x, network)
    a, b = y.chunk(2, dim=-1)
    (s, t), (s_b, t_b) = network(a), network(b)
    mistakes = [
        ("the scale is not undone: divide by exp(s)", torch.cat([a, s.exp() * (b - t)], -1)),
        ("the shift is undone after the scale; it comes first", torch.cat([a, b / s.exp() - t], -1)),
        ("the shift is added; subtract it", torch.cat([a, (b + t) / s.exp()], -1)),
        ("the scale is left out: divide by exp(s)", torch.cat([a, b - t], -1)),
        ("that is coupling_forward once more", forwards(y, network)[0]),
        (
            "the halves are swapped: the first half stays, the second is mapped back",
            torch.cat([(a - t_b) / s_b.exp(), b], -1),
        ),
    ]
    hint = "It is not the inverse: coupling_inverse(coupling_forward(x)) differs from x."
    compare("the inverse", answer(y, network), x, mistakes, hint)


def flip(answer: Callable, batch: int = 3, size: int = 6) -> None:
    """The coordinates in reverse order."""
    x = torch.arange(float(batch * size)).view(batch, size)
    mistakes = [
        ("nothing changed: every coupling would keep the same half", x),
        ("the images of the batch were reversed, not their coordinates", x.flip(0)),
        ("images and coordinates were reversed; each image keeps its place", x.flip(0, 1)),
        ("the halves changed places, but each kept its order; reverse all coordinates", x.roll(size // 2, -1)),
    ]
    compare("the flip", answer(x), x.flip(-1), mistakes, "It reverses the coordinates of each image.")


def chain(x: Tensor, steps: list[Callable]) -> tuple[Tensor, list[Tensor]]:
    """One step after the other; a step that is a network is a coupling."""
    log_dets = []
    for step in steps:
        if step is reverse:
            x = reverse(x)
        else:
            x, log_det = forwards(x, step)
            log_dets.append(log_det)
    return x, log_dets


def networks_of(answer: type[nn.Module], flow: nn.Module, x: Tensor) -> tuple[tuple, list[Callable]]:
    """What the flow returns, and the networks of its couplings in the order of their use."""
    used: list[Callable] = []

    def coupling(value: Tensor, network: Callable) -> tuple[Tensor, Tensor]:
        used.append(network)
        return forwards(value, network)

    with replaced(answer.forward, coupling_forward=coupling, flip=reverse):
        found = unpacked("RealNVP.forward", flow(x), ("z", "log-determinant"))
    assert len(used) == PAIRS, f"the flow has {len(used)} couplings, expected {PAIRS} pairs of a coupling and a flip"
    assert len({id(network) for network in used}) == PAIRS, "couplings share a network; each has its own"
    kept = {id(parameter) for parameter in flow.parameters()}
    missing = [p for network in used for p in network.parameters() if id(p) not in kept]
    assert not missing, "the flow does not know its networks, so none would be trained: keep them in an nn.ModuleList"
    return found, used


def pairs(answer: type[nn.Module], batch: int = 5, size: int = 6, seed: int = 0) -> None:
    """Four pairs of a coupling and a flip, forwards and backwards."""
    with seeded(seed):
        flow, x = answer(size), torch.randn(batch, size)
        networks_of(answer, flow, x)
        flow, x = flow.double(), x.double()  # so that the inverse is exact
        for parameter in flow.parameters():
            nn.init.normal_(parameter, std=0.2)
    (z, log_det), used = networks_of(answer, flow, x)
    right, log_dets = chain(x, [step for network in used for step in (network, reverse)])
    mistakes = [
        ("there is no flip: the first half of the image leaves as it came", chain(x, used)[0]),
        ("the last flip is missing; each coupling is followed by one", reverse(right)),
        ("each flip comes before its coupling, not after", chain(x, [s for n in used for s in (reverse, n)])[0]),
    ]
    compare("z", z, right, mistakes, "Each of the four couplings is followed by a flip.")
    mistakes = [
        ("the last one alone; those of all couplings add up", log_dets[-1]),
        ("the wrong sign", -sum(log_dets)),
        *(("one coupling is left out; those of all couplings add up", sum(log_dets) - part) for part in log_dets),
    ]
    compare("the log-determinant of the flow", log_det, sum(log_dets), mistakes, "It is the sum over the couplings.")
    with replaced(answer.inverse, coupling_inverse=backwards, flip=reverse):
        back = flow.inverse(right)
    hint = "The inverse undoes the last pair first, and in each pair the flip before the coupling."
    compare("the inverse of the flow", back, x, [], hint)


def loss(answer: Callable, batch: int = 5, size: int = 6, seed: int = 0) -> None:
    """The loss of a flow whose z and log-determinant are known."""
    with seeded(seed):
        x, z, log_det = torch.randn(batch, size), torch.randn(batch, size).requires_grad_(), torch.randn(batch)
    found = answer(lambda _: (z, log_det), x)
    constant, square = size * math.log(2 * math.pi) / 2, (z**2).sum(-1) / 2
    right = (constant + square - log_det).mean()
    mistakes = [
        (
            "the log-determinant has the wrong sign: log p(x) = log p(z) + log |det dz/dx|",
            (constant + square + log_det).mean(),
        ),
        ("the log-determinant is missing", (constant + square).mean()),
        ("the log-density itself; its negative is asked for", -right),
        ("the sum over the batch, where the mean is asked for", right * batch),
        ("the constant of the normal density is missing: log(2 pi) / 2 for each coordinate", right - constant),
        (
            "the mean over the coordinates, where the sum is asked for",
            (constant + square).mean() / size - log_det.mean(),
        ),
        ("the mean over the coordinates, where the sum is asked for", right / size),
    ]
    compare("the loss", found, right, mistakes, "It is the mean of -log p(z) - log |det dz/dx|.")
