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
from pyro.distributions import constraints, transforms
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import DenseNN
from pyro.optim import Adam
from torch import Tensor, nn

from inference import load_dataset


class Coupling(dist.TransformModule):
    """x_a = z_a, x_b = exp(s(z_a)) * z_b + t(z_a), for halves a and b; log |det J| = sum of s(z_a)."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__(cache_size=0)  # a cache would outlive a step of the optimiser
        self.network = DenseNN(size // 2, [hidden, hidden], param_dims=[size // 2, size // 2], nonlinearity=nn.ELU())
        nn.init.zeros_(self.network.layers[-1].weight)  # the flow starts near the identity

    def scale_and_shift(self, a: Tensor) -> tuple[Tensor, Tensor]:
        raw, t = self.network(a)
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
        s, _ = self.scale_and_shift(z.chunk(2, dim=-1)[0])
        return s.sum(-1)


class RealNVP(nn.Module):
    """Four pairs of a coupling and a flip. Vectors: x ~ flow. Images: y ~ flow, x = floor(y), and a guide for y."""

    def __init__(self, size: int, levels: int = 0, pairs: int = 4, hidden: int = 64) -> None:
        super().__init__()
        self.size, self.levels = size, levels
        self.couplings = nn.ModuleList(Coupling(size, hidden) for _ in range(pairs))

    def flow(self) -> dist.TransformedDistribution:
        flip = transforms.Permute(torch.arange(self.size).flip(0))  # the halves change places
        steps = [step for coupling in self.couplings for step in (coupling, flip)]
        if self.levels:  # the real line -> intensities from 0 to levels
            steps += [transforms.SigmoidTransform(), transforms.AffineTransform(0.0, self.levels)]
        return dist.TransformedDistribution(dist.Normal(torch.zeros(self.size), 1.0).to_event(1), steps)

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


@torch.no_grad()
def importance_weighted_bound(flow: RealNVP, x: Tensor, m: int) -> Tensor:
    """log of the mean of m weights p(x, y) / q(y | x) of each image, (B,); with m = 1 the ELBO."""
    draws = pyro.plate("draws", m, dim=-2)  # an outer plate: everything inside happens m times, independently
    guide = poutine.trace(draws(flow.guide)).get_trace(x)
    model = poutine.trace(poutine.replay(draws(flow.model), trace=guide)).get_trace(x)  # the model at the guide's y
    for trace in (guide, model):
        trace.compute_log_prob()
    log_w = model.nodes["y"]["log_prob"] + model.nodes["x"]["log_prob"] - guide.nodes["y"]["log_prob"]  # (m, B)
    return log_w.logsumexp(0) - math.log(m)


@torch.no_grad()
def picture(flow: RealNVP) -> Tensor:
    """Sixteen draws of 8x8 pixels, four in a row; of points the density over the plane. (H, W), from 0 to 1."""
    if flow.levels:
        images = flow.model(batch=16).view(4, 4, 8, 8)
        return images.transpose(1, 2).reshape(32, 32) / (flow.levels - 1)
    grid = torch.cartesian_prod(torch.linspace(1.6, -1.1, 21), torch.linspace(-1.6, 2.6, 31)).flip(-1)
    return flow.flow().log_prob(grid).exp().view(21, 31).clamp(max=1)


def as_text(rows: Tensor) -> str:
    shades = " .:-=+*#%@"
    return "\n".join("".join(2 * shades[round(9 * value)] for value in row) for row in rows.tolist())


def main(data: str, epochs: int) -> None:
    pyro.set_rng_seed(0)
    torch.set_default_dtype(torch.float64)  # in single precision x + u may round up to the next grey level
    sets = load_dataset(data)
    if data == "moons":
        x, held_out = (part.values.double() for part in sets)  # (N, 2)
        flow = RealNVP(size=2, pairs=8)
    else:
        x, held_out = (part.pixels.flatten(1).double() for part in sets)  # (N, 64), 17 grey levels
        flow = RealNVP(size=64, levels=17, hidden=200)
    train_loss = train(flow, x, epochs)
    test_loss = Trace_ELBO().loss(flow.model, flow.guide, held_out) / len(held_out)  # of points -log p(x) itself
    losses = {"training set: negative ELBO": train_loss, "test set: negative ELBO": test_loss}
    if flow.levels:
        losses["test set: negative IWAE, m = 50,"] = -importance_weighted_bound(flow, held_out, m=50).mean().item()
    for name, loss in losses.items():
        bits = loss / (flow.size * math.log(2))
        print(f"{name} {loss:.3f} nats per observation, {bits:.3f} bits per dimension")
    print(as_text(picture(flow)))


def run(arguments: list[str]) -> None:
    data, epochs = (*arguments, *("moons", "20")[len(arguments) :])
    if data not in ("moons", "digits") or not epochs.isdecimal() or int(epochs) < 1:
        sys.exit(f"expected moons or digits, and a number of epochs of at least 1; got {data} {epochs}")
    main(data, int(epochs))


if __name__ == "__main__":
    run(sys.argv[1:3])
