"""Training steps of one VAE, 784-300-300-10 and back, as each library's users write them.

Each function takes batches (N, B, 784) of binary pixels and returns a program that trains on them,
one step per batch, or raises ImportError if its library is missing.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
from ours import steps
from products import by_the_faster
from pyro.infer import SVI, JitTrace_ELBO, Trace_ELBO
from pyro.infer.elbo import ELBO
from timing import Program
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from inference import Settings
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal

SHAPE, PIXELS, HIDDEN, LATENT, LR = (1, 28, 28), 784, 300, 10, 1e-3
Batches = Iterable[Tensor]  # (B, 784) binary pixels each; iterated over in every call


def layers(*sizes: int) -> nn.Sequential:
    made: list[nn.Module] = []
    for before, after in pairwise(sizes):
        made += [nn.Linear(before, after), nn.ELU()]
    return nn.Sequential(*made[:-1])


class Handwritten(nn.Module):
    """The VAE of PyTorch tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = layers(PIXELS, HIDDEN, HIDDEN, 2 * LATENT)
        self.decoder = layers(LATENT, HIDDEN, HIDDEN, PIXELS)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        reconstruction = binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return (reconstruction + kl) / len(x)


def by_hand(batches: Batches, best: bool = False) -> Program:
    """A plain loop; at its best compiled, with the fused Adam and the faster products."""
    model = Handwritten()
    loss_of = torch.compile(model) if best else model
    optimizer = torch.optim.Adam(model.parameters(), LR, fused=best or None)

    def run() -> None:
        for x in batches:
            optimizer.zero_grad()
            loss_of(x).backward()
            optimizer.step()

    return by_the_faster(run) if best else run


class PyroVAE:
    """Model and guide as in Pyro's own example; the name keeps the parameters of pairs apart."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.encoder = layers(PIXELS, HIDDEN, HIDDEN, 2 * LATENT)
        self.decoder = layers(LATENT, HIDDEN, HIDDEN, PIXELS)

    def model(self, x: Tensor) -> None:
        pyro.module(f"{self.name} decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), LATENT), x.new_ones(len(x), LATENT)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z), validate_args=False).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module(f"{self.name} encoder", self.encoder)
        with pyro.plate("data", len(x)):
            mean, log_variance = self.encoder(x).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(mean, (0.5 * log_variance).exp()).to_event(1))


def in_pyro(batches: Batches, best: bool = False) -> Program:
    """Pyro's loop; at its best with the traced ELBO, the fused Adam and the faster products."""
    elbo: ELBO = JitTrace_ELBO(ignore_jit_warnings=True) if best else Trace_ELBO()
    pair = PyroVAE(type(elbo).__name__)
    svi = SVI(pair.model, pair.guide, pyro.optim.PyroOptim(torch.optim.Adam, {"lr": LR, "fused": best or None}), elbo)

    def run() -> None:
        for x in batches:
            svi.step(x)

    return by_the_faster(run) if best else run


def this_project(batches: Tensor, compile: Literal["on", "off"] = "on") -> Program:
    return steps(*pair(), list(batches.unflatten(-1, SHAPE)), Settings(lr=LR, compile=compile, device="cpu"))


def pair() -> tuple[nn.Module, nn.Module]:
    """Model and guide of this project."""
    hidden = (HIDDEN, HIDDEN)
    model = VAE(StandardNormal(LATENT), MLPDecoder(LATENT, SHAPE, hidden))
    return model, MeanFieldGuide(MLPEncoder(SHAPE, hidden), LATENT)


def numpyro_svi() -> Any:
    """The same pair as an ``SVI`` of NumPyro."""
    import jax
    import numpyro
    import numpyro.distributions as ndist
    from jax.example_libraries import stax

    encode_init, encode = stax.serial(*_stax(stax, HIDDEN, HIDDEN, 2 * LATENT))
    decode_init, decode = stax.serial(*_stax(stax, HIDDEN, HIDDEN, PIXELS))

    def model(x):  # type: ignore[no-untyped-def]
        net = numpyro.module("decoder", (decode_init, decode), (len(x), LATENT))
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", ndist.Normal(jax.numpy.zeros((len(x), LATENT)), 1.0).to_event(1))
            numpyro.sample("x", ndist.Bernoulli(logits=net(z)).to_event(1), obs=x)

    def guide(x):  # type: ignore[no-untyped-def]
        net = numpyro.module("encoder", (encode_init, encode), (len(x), PIXELS))
        with numpyro.plate("data", len(x)):
            mean, log_variance = jax.numpy.split(net(x), 2, axis=-1)
            numpyro.sample("z", ndist.Normal(mean, jax.numpy.exp(0.5 * log_variance)).to_event(1))

    return numpyro.infer.SVI(model, guide, numpyro.optim.Adam(LR), numpyro.infer.Trace_ELBO())


def numpyro(batches: Tensor, best: bool = False) -> Program:
    """Each step compiled; at its best all steps in one compiled loop."""
    import jax

    svi, x = numpyro_svi(), jax.numpy.asarray(batches.numpy())
    state = svi.init(jax.random.PRNGKey(0), x[0])
    step, all_steps = jax.jit(svi.update), jax.jit(lambda state, x: jax.lax.scan(svi.update, state, x))

    def run() -> None:
        nonlocal state
        if best:
            state, losses = all_steps(state, x)
        else:
            for batch in x:
                state, losses = step(state, batch)
        losses.block_until_ready()

    return run


def _stax(stax, *widths: int) -> list:  # type: ignore[no-untyped-def]
    made: list = []
    for width in widths:
        made += [stax.Dense(width), stax.Elu]
    return made[:-1]


def products_alone(batches: Tensor) -> Callable[[], None]:
    """Only the matrix products of a step, forward and backward: a lower bound for programs that use this library."""
    count = batches.shape[1]
    sizes = (PIXELS, HIDDEN, HIDDEN, 2 * LATENT), (LATENT, HIDDEN, HIDDEN, PIXELS)
    shapes = [pair for half in sizes for pair in pairwise(half)]
    weights = [torch.randn(after, before) for before, after in shapes]
    inputs = [torch.randn(count, before) for before, _ in shapes]
    outputs = [torch.randn(count, after) for _, after in shapes]

    def run() -> None:
        for _ in batches:
            for i, (weight, x, y) in enumerate(zip(weights, inputs, outputs, strict=True)):
                torch.mm(x, weight.T)
                torch.mm(y.T, x)
                if i:  # the pixels need no gradient
                    torch.mm(y, weight)

    return run
