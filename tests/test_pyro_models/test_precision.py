"""Under autocast networks compute in half precision; draws, densities and their sums do not."""

import copy

import pyro
import pytest
import torch
from conftest import randomise
from test_combinations import GUIDES, PRIORS, SHAPE
from torch import Tensor, nn
from torch.distributions import Normal

from pyro_models import (
    VAE,
    ClassNormal,
    FlowDequantizer,
    FullRankGuide,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    StandardNormal,
    VampPrior,
)

HALF = torch.autocast("cpu", torch.bfloat16)


def narrow() -> FullRankGuide:
    """z = (e1, e1 + 0.0001 e2): of condition number 2e4."""
    guide = FullRankGuide(MLPEncoder(SHAPE, [4]), 2)
    nn.init.zeros_(guide.head.weight)
    guide.head.bias.data = torch.tensor([0.0, 0.0, 0.5413, -30.0, 1.0])
    return guide


def test_draws_of_a_narrow_full_rank_guide_lie_where_they_should():
    x = torch.zeros(500, *SHAPE)
    with HALF:
        q = narrow().posterior(x)
        z = q.rsample()
        log_q = q.log_prob(z)
    noise = torch.linalg.solve(q.scale_tril.double(), z.double()[..., None])
    assert ((noise.std(0) - 1).abs() < 0.15).all()  # of draws that are rounded to eight bits: 5 across
    exact = Normal(0.0, 1.0).log_prob(noise).sum((-2, -1)) - q.scale_tril.double().logdet()
    torch.testing.assert_close(log_q.double(), exact, atol=0.05, rtol=0)  # digits of z, 1e4 times as large


def density_of_the_draw(q: torch.distributions.Distribution, parameters: int) -> tuple[Tensor, Tensor]:
    """log q at a draw, as the distribution says it and from the Jacobian of the draw, both under autocast."""
    noise = torch.randn(*q.batch_shape, parameters, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch, HALF:
        for where in ("normal", "multivariate_normal"):
            patch.setattr(f"torch.distributions.{where}._standard_normal", lambda shape, **_: noise.expand(shape))
        z = q.rsample()
        log_q = q.log_prob(z)
    rows = [torch.autograd.grad(z[..., i].sum(), noise, retain_graph=True)[0] for i in range(z.shape[-1])]
    jacobian = torch.stack(rows, -2).double()
    return log_q, Normal(0.0, 1.0).log_prob(noise.double()).sum(-1) - jacobian.det().abs().log()


@pytest.mark.parametrize("kind", GUIDES)
def test_a_guides_density_is_that_of_its_draw(kind):
    encoder = MLPEncoder(SHAPE, [8])
    model = randomise(VAE(StandardNormal(3), MLPDecoder(3, SHAPE, [8])))
    guide = randomise(GUIDES[kind](encoder, model), 0.1 if kind == "flow of mixtures" else 0.5)
    with HALF:
        q = guide.posterior(torch.rand(6, *SHAPE).round())
    log_q, exact = density_of_the_draw(q, 3)
    assert log_q.dtype == torch.float32
    within = 0.02 if kind.startswith("flow") else 1e-4  # its networks' own gradients are rounded, in the Jacobian
    torch.testing.assert_close(log_q.double(), exact, atol=within, rtol=0)


@pytest.mark.parametrize("kind", ["normal", "mixture", "spline", "autoregressive", "classes"])
def test_a_priors_draws_and_densities_are_those_without_autocast(kind):
    prior = randomise(ClassNormal(3, 2) if kind == "classes" else PRIORS[kind](None), 0.5)
    arguments = (torch.eye(2)[[0, 1, 0, 1]],) if kind == "classes" else ()
    drawn = []
    for autocast in (True, False):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            p = prior(*arguments)
            z = p.sample(torch.Size([4] if kind != "classes" else []))
            drawn.append((z, p.log_prob(z.clone()), p.log_prob(z + 0.5)))
    torch.testing.assert_close(*drawn, rtol=1e-5, atol=1e-5)


def test_a_flow_prior_and_its_inverse_agree():
    p = randomise(PRIORS["flow"](None), 0.5)()
    with HALF:
        z = p.sample(torch.Size([200]))
        assert z.dtype == p.log_prob(z).dtype == torch.float32
        # the network that is run backwards sees inputs whose last digit differs: it rounds a few of them otherwise
        assert (p.log_prob(z) - p.log_prob(z.clone())).abs().median() < 1e-3


def test_a_mixture_of_narrow_posteriors_has_exact_densities():
    prior = VampPrior(narrow(), SHAPE, 3)
    with HALF:
        p = prior()
        z = p.sample(torch.Size([500]))
        log_p = p.log_prob(z)
    lower = p.component_distribution.scale_tril[0]  # the posterior is the same for every image
    one = torch.distributions.MultivariateNormal(torch.zeros(2), scale_tril=lower)
    torch.testing.assert_close(log_p, one.log_prob(z), atol=1e-3, rtol=0)
    assert abs(log_p.mean() + one.entropy()) < 0.3


def test_a_flow_dequantisers_density_is_that_of_its_draw():
    guide = randomise(FlowDequantizer((1, 1, 2), 4, 2, 4, 1), 0.3)
    x = torch.randint(0, 4, (6, 1, 1, 2)).float()
    with HALF:
        noise = guide.noise(x)
    flat = copy.copy(noise)
    flat.rsample = lambda: noise.rsample().flatten(-3)
    flat.log_prob = lambda _: noise.log_prob(noise._drawn[0])
    log_q, exact = density_of_the_draw(flat, 2)
    torch.testing.assert_close(log_q.double(), exact, atol=1e-4, rtol=1e-4)


def test_networks_of_others_do_not_round_densities():
    """An encoder and a decoder that give half precision under autocast, as plain layers of torch do."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(9, 8))
    encoder.out_features = 8
    guide = randomise(MeanFieldGuide(encoder, 2))
    decoder = nn.Sequential(nn.Linear(2, 9), nn.Unflatten(-1, SHAPE))
    model = randomise(VAE(StandardNormal(2), decoder))
    x = torch.rand(5, *SHAPE).round()
    with HALF, pyro.plate("data", 5):
        q = guide.posterior(x)
        z = q.rsample()
        assert z.dtype == q.log_prob(z).dtype == torch.float32
        image = model.image(z)
        assert image.logits.dtype == image.log_prob(x).dtype == torch.float32
