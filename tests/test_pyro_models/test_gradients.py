"""Every objective with every guide: its gradient against the bound's, written out from the guide's draw alone.

A guide's draw is a map z = f(e) of noise e whose density is known.  Its own density follows from the Jacobian of
that map, here by automatic differentiation: log q(z) = log p(e) - log |det df/de|.  No guide's ``log_prob`` is called.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pyro
import pytest
import torch
from conftest import randomise
from pyro import poutine
from pyro.infer import ELBO
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits as negative_log_bernoulli

from inference import STL, BetaELBO, CompiledELBO, DReG, ELBOWithTerms, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from inference.programs.terms import in_particles, sample_sites
from pyro_models import (
    VAE,
    FlowDequantizer,
    FlowGuide,
    FlowModel,
    FullRankGuide,
    IAFGuide,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    SemiAmortizedGuide,
    StandardNormal,
    TopDownGuide,
    TwoLevelGuide,
    TwoLevelVAE,
    UniformDequantizer,
    flip_realnvp,
)
from pyro_models.networks import scale_of

pytestmark = pytest.mark.usefixtures("float64")
SHAPE, LEVELS, STEPS = (1, 1, 4), 4, 2
NORMAL = Normal(torch.zeros((), dtype=torch.float64), 1.0)


class Case(NamedTuple):
    """A pair, its two terms of log p(x, z) written out, and the sizes of the latents in the order of the draws."""

    model: nn.Module
    guide: nn.Module
    log_prior: Callable[[Tensor], Tensor]
    log_likelihood: Callable[[Tensor, Tensor], Tensor]
    x: Tensor
    sizes: tuple[int, ...] = (2,)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [*self.model.parameters(), *self.guide.parameters()]


def log_normal(z: Tensor, loc: Tensor | float = 0.0, scale: Tensor | float = 1.0) -> Tensor:
    return NORMAL.log_prob((z - loc) / scale).sum(-1) - torch.as_tensor(scale).log().expand(z.shape).sum(-1)


def vae(make: Callable[[nn.Module, VAE], nn.Module], scale: float = 0.4) -> Case:
    model = randomise(VAE(StandardNormal(2), MLPDecoder(2, SHAPE, [5], "Tanh")), 0.5)
    guide = randomise(make(MLPEncoder(SHAPE, [5], "Tanh"), model), scale)

    def log_likelihood(x: Tensor, z: Tensor) -> Tensor:
        raw = model.decoder(z)
        return -negative_log_bernoulli(raw, x.expand_as(raw), reduction="none").flatten(-3).sum(-1)

    return Case(model, guide, log_normal, log_likelihood, torch.tensor([1.0, 0.0, 0.0, 1.0]).reshape(SHAPE))


def two_layers(top_down: bool) -> Case:
    model = randomise(TwoLevelVAE(StandardNormal(1), MLPDecoder(1, SHAPE, [5], "Tanh"), 1, 1, hidden=[4]), 0.3)
    encoder = MLPEncoder(SHAPE, [5], "Tanh")
    kind = partial(TopDownGuide, hidden=[4]) if top_down else partial(TwoLevelGuide, hidden=[4])
    guide = randomise(kind(encoder, 1, 1), 0.3)

    def log_prior(z: Tensor) -> Tensor:
        z2, z1 = z.split(1, -1) if top_down else z.flip(-1).split(1, -1)
        loc, raw = model.down(z2)
        return log_normal(z2) + log_normal(z1, loc, scale_of(raw))

    def log_likelihood(x: Tensor, z: Tensor) -> Tensor:
        raw = model.decoder(z[..., 1:] if top_down else z[..., :1])
        return -negative_log_bernoulli(raw, x.expand_as(raw), reduction="none").flatten(-3).sum(-1)

    return Case(model, guide, log_prior, log_likelihood, torch.tensor([1.0, 0.0, 0.0, 1.0]).reshape(SHAPE), (1, 1))


def flow_model(make: Callable[[tuple[int, ...]], nn.Module]) -> Case:
    shape = (1, 1, 2)
    model = randomise(FlowModel(flip_realnvp(shape, 2, [4], activation="Tanh"), LEVELS), 0.5)
    guide = randomise(make(shape), 0.3)
    return Case(
        model,
        guide,
        lambda y: model.flow().log_prob(y.unflatten(-1, shape)),
        lambda x, y: torch.zeros(y.shape[:-1]),  # drawn within the pixels' cells
        torch.tensor([3.0, 1.0]).reshape(shape),
    )


CASES: dict[str, Callable[[], Case]] = {
    "mean field": lambda: vae(lambda encoder, _: MeanFieldGuide(encoder, 2)),
    "full rank": lambda: vae(lambda encoder, _: FullRankGuide(encoder, 2)),
    "flow": lambda: vae(lambda encoder, _: FlowGuide(encoder, 2, 2, [4])),
    "flow of mixtures": lambda: vae(lambda encoder, _: FlowGuide(encoder, 2, 2, [4], components=2), 0.2),
    "iaf": lambda: vae(lambda encoder, _: IAFGuide(encoder, 2, 2, [4])),
    "semi-amortised": lambda: vae(lambda encoder, model: SemiAmortizedGuide(encoder, 2, model, STEPS)),
    "bottom up": lambda: two_layers(top_down=False),
    "top down": lambda: two_layers(top_down=True),
    "uniform dequantiser": lambda: flow_model(lambda shape: UniformDequantizer(LEVELS)),
    "flow dequantiser": lambda: flow_model(lambda shape: FlowDequantizer(shape, LEVELS, 2, 2, 1)),
}
HELD = [name for name in CASES if name != "semi-amortised"]  # its density is random, which STL and DReG refuse


@contextmanager
def drawn_from(case: Case, noise: Tensor) -> Iterator[None]:
    """Within, the guide's draws are made of this noise, (K, B, D) or (B, D)."""
    parts = list(noise.split(case.sizes, -1))
    if isinstance(case.guide, SemiAmortizedGuide):  # first come the draws of its steps
        parts = [torch.full((noise.shape[-2], 2), 0.4) for _ in range(STEPS)] + parts
    left = iter(parts)

    def following(shape: torch.Size, *_: object, **__: object) -> Tensor:
        return next(left).reshape(shape)

    with (
        patch("torch.distributions.normal._standard_normal", following),
        patch("torch.distributions.multivariate_normal._standard_normal", following),
        patch("torch.rand", following),
        pyro.validation_enabled(False),
    ):
        yield
    assert not list(left)


class Draw(NamedTuple):
    noise: Tensor
    z: Tensor
    jacobian: Tensor
    log_q: Tensor


def draw(case: Case, noise: Tensor) -> Draw:
    """The guide's draw at this noise, (K, B, D), and its density from the draw's Jacobian."""
    noise = noise.clone().requires_grad_()
    x = case.x.expand(noise.shape[1], *case.x.shape)
    with drawn_from(case, noise):
        trace = poutine.trace(in_particles(case.guide, len(noise))).get_trace(x)
    sites = sample_sites(trace).values()
    z = torch.cat([site["value"].reshape(*noise.shape[:2], -1) for site in sites], -1)
    rows = [torch.autograd.grad(z[..., i].sum(), noise, create_graph=True)[0] for i in range(z.shape[-1])]
    jacobian = torch.stack(rows, -2)
    uniform = isinstance(case.guide, UniformDequantizer)
    log_p = (0 * noise if uniform else NORMAL.log_prob(noise)).sum(-1)
    return Draw(noise, z, jacobian, log_p - jacobian.det().abs().log())


def log_joint(case: Case, z: Tensor) -> Tensor:
    return case.log_prior(z) + case.log_likelihood(case.x, z)


def power_mean(log_w: Tensor, alpha: float) -> Tensor:
    """Renyi's bound of each image; alpha = 1 is the ELBO, 0 the importance-weighted bound."""
    if alpha == 1:
        return log_w.mean(0)
    return ((1 - alpha) * log_w).logsumexp(0) / (1 - alpha) - math.log(len(log_w)) / (1 - alpha)


def gradients(total: Tensor, case: Case, **options: bool) -> list[Tensor]:
    found = torch.autograd.grad(total, case.parameters, allow_unused=True, **options)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(case.parameters, found, strict=True)]


def estimated(objective: ELBO, case: Case, noise: Tensor, weights: Tensor) -> list[Tensor]:
    """The objective's gradient at this noise, the images weighted."""
    x = case.x.expand(noise.shape[1], *case.x.shape)
    model, guide = (poutine.scale(half, scale=weights) for half in (case.model, case.guide))
    with drawn_from(case, noise):
        if hasattr(objective, "bound"):
            total = (weights * objective.bound(case.model, case.guide, x)).sum()
        else:
            total = -objective.differentiable_loss(model, guide, x)
    return gradients(total, case)


def path_derivative(case: Case, noise: Tensor, weights: Tensor, power: int) -> list[Tensor]:
    """STL (power 1, of one particle) and DReG (power 2) as their papers write them."""
    drawn = draw(case, noise)
    (of_noise,) = torch.autograd.grad(drawn.log_q.sum(), drawn.noise, retain_graph=True)
    z = drawn.z.detach().requires_grad_()
    log_p = log_joint(case, z)
    share = (log_p - drawn.log_q).detach().softmax(0)
    (of_z,) = torch.autograd.grad(log_p.sum(), z, retain_graph=True)
    of_z = of_z - torch.linalg.solve(drawn.jacobian.detach().mT, of_noise)  # d log w / dz, the parameters held
    model = gradients((weights * share * log_p).sum(), case)
    guide = gradients((drawn.z * (weights * share**power)[..., None] * of_z).sum(), case)
    return [a + b for a, b in zip(model, guide, strict=True)]


def assert_close(ours: list[Tensor], theirs: list[Tensor], within: float) -> None:
    """Up to this share of the largest gradient."""
    scale = max(float(g.abs().max()) for g in theirs)
    assert scale > 0.01
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=within * scale, rtol=0)


def random_noise(case: Case, particles: int, images: int = 5) -> Tensor:
    make = torch.rand if isinstance(case.guide, UniformDequantizer) else torch.randn
    return make(particles, images, 2)


PLAIN = {
    "elbo": (Trace_ELBO, 1.0, 1),
    "iwae": (lambda: RenyiELBO(0.0, 3), 0.0, 3),
    "renyi": (lambda: RenyiELBO(0.5, 3), 0.5, 3),
}


@pytest.mark.parametrize("objective", PLAIN)
@pytest.mark.parametrize("name", list(CASES))
def test_plain_gradients_are_those_of_the_bound_at_the_same_noise(name, objective):
    case, (make, alpha, particles) = CASES[name](), PLAIN[objective]
    noise = random_noise(case, particles)
    drawn = draw(case, noise)
    exact = gradients(power_mean(log_joint(case, drawn.z) - drawn.log_q, alpha).sum(), case)
    assert_close(estimated(make(), case, noise, torch.ones(noise.shape[1])), exact, 1e-9)


@pytest.mark.parametrize("name", HELD)
def test_path_derivatives_have_no_score(name):
    """The gradient passes through the draw alone, however the guide computes its density."""
    case = CASES[name]()
    for objective, power in ((STL(1), 1), (DReG(3), 2)):
        noise = random_noise(case, objective.num_particles)
        ones = torch.ones(noise.shape[1])
        assert_close(estimated(objective, case, noise, ones), path_derivative(case, noise, ones, power), 1e-7)


def quadrature(case: Case, particles: int, points: int) -> tuple[Tensor, Tensor]:
    """Noise (K, N, 2) and weights (N,) of a rule for its density; for smooth functions exact to many digits."""
    if isinstance(case.guide, UniformDequantizer):
        at, weights = np.polynomial.legendre.leggauss(points)
        at, weights = (at + 1) / 2, weights / 2
    else:
        at, weights = np.polynomial.hermite_e.hermegauss(points)
        weights = weights / math.sqrt(2 * math.pi)
    dims = 2 * particles
    nodes = torch.cartesian_prod(*[torch.tensor(at)] * dims)
    product = torch.cartesian_prod(*[torch.tensor(weights)] * dims).prod(-1)
    return nodes.reshape(-1, particles, 2).transpose(0, 1), product


ELBOS = {
    "elbo": Trace_ELBO,
    "mean-field elbo": TraceMeanField_ELBO,
    "stl": lambda: STL(1),
    "beta": lambda: BetaELBO(0.5),
}
REFUSED = {("bottom up", "mean-field elbo"), ("semi-amortised", "stl")}


@pytest.mark.parametrize(
    ("name", "objective"), [pair for pair in itertools.product(CASES, ELBOS) if pair not in REFUSED]
)
def test_the_mean_gradient_of_an_elbo_is_exact(name, objective):
    """The closed-form divergences of some guides included: over all noise they are what the densities say."""
    case = CASES[name]()
    noise, weights = quadrature(case, 1, 20)
    drawn = draw(case, noise)
    divergence = drawn.log_q - case.log_prior(drawn.z)
    beta = 0.5 if objective == "beta" else 1.0
    bound = case.log_likelihood(case.x, drawn.z) - beta * divergence
    exact = gradients((weights * bound).sum(), case)
    assert_close(estimated(ELBOS[objective](), case, noise, weights), exact, 2e-3)


@pytest.mark.parametrize("name", HELD)
def test_the_mean_gradient_of_dreg_is_that_of_the_importance_weighted_bound(name):
    case = CASES[name]()
    noise, weights = quadrature(case, 2, 8)
    drawn = draw(case, noise)
    exact = gradients((weights * power_mean(log_joint(case, drawn.z) - drawn.log_q, 0.0)).sum(), case)
    assert_close(estimated(DReG(2), case, noise, weights), exact, 0.02)  # which the rule itself is off by


@pytest.mark.filterwarnings("ignore:training runs without compilation")  # of iaf, whose inverse no graph can record
@pytest.mark.parametrize(
    ("name", "objective"),
    [("flow", STL(2)), ("flow", DReG(3)), ("iaf", DReG(2)), ("flow dequantiser", DReG(2))],
    ids=["flow-stl", "flow-dreg", "iaf-dreg", "dequantiser-dreg"],
)
def test_compiled_path_derivatives_of_flows_are_the_eager_ones(name, objective):
    case = CASES[name]()
    compiled = CompiledELBO(ELBOWithTerms(objective, case.model, case.guide), backend="eager").train()
    x, found = case.x.expand(6, *case.x.shape), []
    with pyro.validation_enabled(False):
        for module in (compiled, compiled.eager):
            torch.manual_seed(1)
            found.append(gradients(module(x)[0], case))
    assert (compiled._compiler.graph is None) == (name == "iaf")
    assert_close(*found, 1e-9)
