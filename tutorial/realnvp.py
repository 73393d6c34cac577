"""RealNVP in one file: torch, Pyro and a data set. Read it from top to bottom, then run it.

python tutorial/realnvp.py moons  [epochs]     points of the plane, half a minute on one core
python tutorial/realnvp.py digits [epochs]     8x8 images of 17 grey levels, likewise
"""

import math
import sys

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.torch_transform import TransformModule
from pyro.distributions.transforms import AffineTransform, Permute, SigmoidTransform
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from torch import Tensor, nn
from torch.distributions import constraints

from inference import load_dataset

MARGIN = 1e-6  # the sigmoid is stretched by so much beyond [0, 1]: black and white have a finite logit


class Coupling(TransformModule):
    """x_a = z_a, x_b = exp(s(z_a)) * z_b + t(z_a), for halves a and b; log |det J| = sum of s(z_a)."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__(cache_size=0)  # a cache would outlive a step of the optimiser
        layers = [nn.Linear(size // 2, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, size)]
        self.network = nn.Sequential(*layers)
        nn.init.zeros_(self.network[-1].weight)  # the flow starts near the identity

    def scale_and_shift(self, a: Tensor) -> tuple[Tensor, Tensor]:
        raw, t = self.network(a).chunk(2, dim=-1)
        return 2 * torch.tanh(raw / 2), t  # s stays within (-2, 2), whatever a step of the optimiser does

    def _call(self, z: Tensor) -> Tensor:
        a, b = z.chunk(2, dim=-1)
        s, t = self.scale_and_shift(a)
        return torch.cat([a, s.exp() * b + t], dim=-1)

    def _inverse(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        s, t = self.scale_and_shift(a)
        return torch.cat([a, (b - t) * (-s).exp()], dim=-1)

    def log_abs_det_jacobian(self, z: Tensor, x: Tensor) -> Tensor:
        return self.scale_and_shift(z.chunk(2, dim=-1)[0])[0].sum(-1)


class RealNVP(nn.Module):
    """Four pairs of a coupling and a flip. Vectors: x ~ flow. Images: y ~ flow, x = floor(y), and a guide for y."""

    def __init__(self, size: int, levels: int = 0, pairs: int = 4, hidden: int = 64) -> None:
        super().__init__()
        self.size, self.levels = size, levels
        self.couplings = nn.ModuleList(Coupling(size, hidden) for _ in range(pairs))

    def flow(self) -> dist.TransformedDistribution:
        flip = Permute(torch.arange(self.size).flip(0))  # the halves change places
        transforms = [step for coupling in self.couplings for step in (coupling, flip)]
        if self.levels:  # the real line -> intensities from 0 to levels
            stretch = self.levels / (1 - 2 * MARGIN)
            transforms += [SigmoidTransform(), AffineTransform(-MARGIN * stretch, stretch)]
        return dist.TransformedDistribution(dist.Normal(torch.zeros(self.size), 1.0).to_event(1), transforms)

    def model(self, x: Tensor | None = None, batch: int = 16) -> Tensor:
        pyro.module("couplings", self.couplings)
        with pyro.plate("data", batch if x is None else len(x)):
            if not self.levels:
                return pyro.sample("x", self.flow(), obs=x)
            y = pyro.sample("y", self.flow())  # continuous intensities, (B, size)
            return pyro.sample("x", dist.Delta(y.floor(), event_dim=1), obs=x)  # the grey levels they round down to

    def guide(self, x: Tensor) -> None:
        """Dequantisation: y is uniform on the cell [x, x + 1) of each pixel. Vectors leave nothing to guess."""
        if self.levels:
            with pyro.plate("data", len(x)):
                pyro.sample("y", dist.Uniform(x, x + 1).to_event(1))


def train(flow: RealNVP, data: Tensor, epochs: int, batch_size: int = 200) -> float:
    """Maximise the ELBO; returns the negative ELBO of the last epoch, in nats per observation."""
    pyro.clear_param_store()
    svi = SVI(flow.model, flow.guide, Adam({"lr": 3e-3}), Trace_ELBO())
    total = 0.0
    for _ in range(epochs):
        total = sum(svi.step(batch) for batch in data[torch.randperm(len(data))].split(batch_size))
    return total / len(data)


def log_density(trace: poutine.Trace) -> Tensor:
    """The log-density of a trace at its draws; a guide without draws has density 1."""
    trace.compute_log_prob()
    return sum(trace.nodes[site]["log_prob"] for site in ("x", "y") if site in trace.nodes)


@torch.no_grad()
def log_weights(flow: RealNVP, x: Tensor, m: int) -> Tensor:
    """log p(x, y) - log q(y | x) for m draws of each y, (m, B); without latents log p(x) itself."""
    draws = pyro.plate("draws", m, dim=-2)  # an outer plate: everything inside happens m times, independently
    guide = poutine.trace(draws(flow.guide)).get_trace(x)
    model = poutine.trace(poutine.replay(draws(flow.model), trace=guide)).get_trace(x)  # the model at the guide's y
    return log_density(model) - log_density(guide)


def importance_weighted_bound(log_w: Tensor) -> Tensor:
    """log of the mean of the m weights of each observation, (m, B) -> (B,); with m = 1 the ELBO."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def as_text(rows: Tensor) -> str:
    """A picture (H, W) of intensities from 0 to 1 as characters."""
    shades = " .:-=+*#%@"
    return "\n".join("".join(2 * shades[round(v * 9)] for v in row) for row in rows.clamp(0, 1).tolist())


@torch.no_grad()
def moons(epochs: int) -> None:
    train_set, test_set = load_dataset("moons")
    loc, scale = train_set.values.mean(0), train_set.values.std(0)
    x, held_out = ((part.values.double() - loc) / scale for part in (train_set, test_set))
    flow = RealNVP(size=2, pairs=8)
    with torch.enable_grad():
        print(f"training points: negative ELBO {train(flow, x, epochs):.3f} nats per standardised point")
    print(f"test points:     negative ELBO {-log_weights(flow, held_out, m=1).mean():.3f}, which is -log p(x) itself")
    grid = torch.cartesian_prod(torch.linspace(2, -2, 21), torch.linspace(-2.2, 2.2, 31)).flip(-1)
    print(as_text(2 * flow.flow().log_prob(grid).exp().view(21, 31)))


@torch.no_grad()
def digits(epochs: int) -> None:
    train_set, test_set = load_dataset("digits")  # (N, 1, 8, 8), 17 grey levels
    x, held_out = (part.pixels.flatten(1).double() for part in (train_set, test_set))
    flow = RealNVP(x.shape[1], levels=17, hidden=200)
    with torch.enable_grad():
        print(f"training images: negative ELBO {train(flow, x, epochs):.2f} nats per image")
    log_w = log_weights(flow, held_out, m=50)
    for name, bound in (("ELBO", log_w), (f"IWAE, m = {len(log_w)}:", importance_weighted_bound(log_w))):
        bits = -bound.mean() / (x.shape[1] * math.log(2))
        print(f"test images:     negative {name} {-bound.mean():.2f}, {bits:.3f} bits per dimension")
    samples = flow.model(batch=16).view(4, 4, 8, 8)  # four rows of four
    print(as_text(samples.permute(0, 2, 1, 3).reshape(32, 32) / 16))


def run(arguments: list[str]) -> None:
    data, epochs = (*arguments, *("moons", "20")[len(arguments) :])
    if data not in ("moons", "digits") or not epochs.isdecimal() or int(epochs) < 1:
        sys.exit(f"expected moons or digits, and a number of epochs of at least 1; got {data} {epochs}")
    pyro.set_rng_seed(0)
    torch.set_default_dtype(torch.float64)  # in single precision x + u may round up to the next grey level
    {"moons": moons, "digits": digits}[data](int(epochs))


if __name__ == "__main__":
    run(sys.argv[1:3])
