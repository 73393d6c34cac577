"""A pair that is not what the numbers suppose gives no number, or the right one."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import nn

from inference import (
    STL,
    BetaELBO,
    DReG,
    ELBOWithTerms,
    Images,
    RenyiELBO,
    Settings,
    diagnose,
    fit,
    log_weights,
    negative_bounds,
)
from inference.programs.terms import divergences_by_dimension, draw_traces, elbo_terms
from inference.training.measure import measure
from pyro_models import VAE, MLPDecoder, MLPEncoder, SemiAmortizedGuide, StandardNormal

SIZE = 6
IMAGES = Images("squares", (torch.arange(SIZE * 4) % 3 % 2).byte().reshape(SIZE, 1, 2, 2), torch.zeros(SIZE), levels=2)


class Model(nn.Module):
    """Three numbers, of which four binary pixels are a linear map; ``prior`` is that of the numbers."""

    def __init__(self, prior=None, mask=None, twice=False):
        super().__init__()
        self.prior = prior or dist.Normal(torch.zeros(3), 1.0).to_event(1)
        self.mask, self.twice = mask, twice
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            with poutine.mask(mask=True if self.mask is None else self.mask[: len(x)]):
                z = pyro.sample("z", self.prior)
            logits = pyro.deterministic("logits", self.layers(z), event_dim=1)
            if not self.twice:
                pyro.sample("x", dist.Bernoulli(logits=logits.unflatten(-1, (1, 2, 2))).to_event(3), obs=x)
            else:
                with pyro.plate("pixels", 4, dim=-2):
                    pyro.sample("x", dist.Bernoulli(logits=logits.T), obs=x.flatten(1).T)


class Guide(nn.Module):
    def __init__(self, make=lambda loc: dist.Normal(loc, 0.5), mask=None):
        super().__init__()
        self.make, self.mask = make, mask
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        loc = self.layer(x.flatten(1))
        with pyro.plate("data", len(x)), poutine.mask(mask=True if self.mask is None else self.mask[: len(x)]):
            pyro.deterministic("centre", loc, event_dim=1)
            pyro.sample("z", self.make(loc).to_event(1))


NUMBERS = {
    "log_weights": lambda model, guide: log_weights(model, guide, IMAGES.observe(), 8),
    "negative_bounds": lambda model, guide: negative_bounds(model, guide, IMAGES, [1, 4], repeats=1),
    "measure": lambda model, guide: measure(model, guide, IMAGES, SIZE),
    "diagnose": lambda model, guide: diagnose(model, guide, IMAGES, num_samples=20),
    "fit": lambda model, guide: fit(model, guide, IMAGES, IMAGES, Settings(epochs=1, device="cpu"), show=None),
}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("make", [dist.Delta, lambda loc: dist.Bernoulli(logits=loc)], ids=["Delta", "Bernoulli"])
def test_no_bound_is_made_of_a_density_and_a_probability(number, make):
    with pytest.raises(ValueError, match="in the model but a (Delta|Bernoulli) in the guide.*no ratio"):
        NUMBERS[number](Model(), Guide(make))


@pytest.mark.parametrize("number", ["measure", "diagnose", "fit"])
def test_pixels_in_a_plate_of_their_own_are_not_averaged(number):
    with pytest.raises(ValueError, match=r"'x' gives log-densities of shape \(4, \d\)"):
        NUMBERS[number](Model(twice=True), Guide())


def test_codes_that_the_model_cannot_draw_have_no_density():
    model, guide = Model(dist.Exponential(torch.ones(3)).to_event(1)), Guide()
    with pyro.validation_enabled(False):
        log_w = log_weights(model, guide, IMAGES.observe(), 500)
        kl = elbo_terms(*draw_traces(model, guide, IMAGES.observe()), closed_form=False).kl
    assert (log_w == -math.inf).any()
    assert (kl == math.inf).any()
    with pytest.raises(FloatingPointError, match="no density"):
        NUMBERS["negative_bounds"](model, guide)


def test_what_is_masked_in_one_program_alone_has_no_closed_form():
    mask = torch.arange(SIZE) % 2 == 0
    model, guide = Model(mask=mask).eval(), Guide()
    traces = draw_traces(model, guide, IMAGES.observe())
    guide_density = traces[1].nodes["z"]["fn"].log_prob(traces[1].nodes["z"]["value"])
    expected = guide_density - mask * model.prior.log_prob(traces[1].nodes["z"]["value"])
    torch.testing.assert_close(elbo_terms(*traces).kl, expected)
    both = draw_traces(model, Guide(mask=mask), IMAGES.observe())
    (parts,) = divergences_by_dimension(*both).values()
    torch.testing.assert_close(parts.sum(1), elbo_terms(*both).kl)
    assert (parts[~mask] == 0).all()


def test_weights_are_those_of_networks_without_dropout_and_modes_stay():
    model, guide = Model(), Guide()
    x = IMAGES.observe()
    torch.manual_seed(0)
    found = log_weights(model, guide, x, 5)
    assert all(part.training for part in model.modules())
    torch.manual_seed(0)
    torch.testing.assert_close(found, log_weights(model.eval(), guide, x, 5))


def test_one_image_has_no_error_over_images_and_half_precision_no_weights():
    estimate = negative_bounds(Model(), Guide(), IMAGES.take(slice(1)), [1], repeats=2)[1]
    assert estimate.standard_error_over_images is estimate.scaled(2.0).standard_error_over_images is None
    with pytest.raises(TypeError, match="float32 or float64"):
        log_weights(Model().half(), Guide().half(), IMAGES.observe().half(), 2)


class Choice(nn.Module):
    """One of two patterns; as a guide it draws which, and as a model the pixels too."""

    def __init__(self, guide=False, infer=None):
        super().__init__()
        self.guide, self.infer = guide, infer or {}
        self.layer = nn.Linear(4, 2) if guide else nn.Linear(2, 4)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            logits = self.layer(x.flatten(1)) if self.guide else torch.zeros(2)
            k = pyro.sample("k", dist.Categorical(logits=logits), infer=self.infer)
            if not self.guide:
                pixels = self.layer(nn.functional.one_hot(k, 2).float()).unflatten(-1, (1, 2, 2))
                pyro.sample("x", dist.Bernoulli(logits=pixels).to_event(3), obs=x)


def test_terms_of_an_enumerated_latent_weigh_its_values_by_the_guide():
    model, guide = Choice(), Choice(guide=True, infer={"enumerate": "parallel"})
    with torch.no_grad():
        guide.layer.bias.copy_(torch.tensor([9.0, -9.0]))  # the first pattern, nearly always
    x = torch.ones(2000, 1, 2, 2)
    loss, terms = ELBOWithTerms(TraceEnum_ELBO(max_plate_nesting=1), model, guide)(x)
    assert terms.negative_elbo.shape == (2000,)
    assert terms.negative_elbo.mean().item() == pytest.approx(loss.item(), abs=0.05)


@pytest.mark.parametrize("objective", [RenyiELBO(), BetaELBO(), STL(), DReG()], ids=lambda o: type(o).__name__)
def test_objectives_that_follow_draws_refuse_those_without_gradients(objective):
    with pytest.raises(ValueError, match="'k' must be reparameterised"):
        objective.loss(Choice(), Choice(guide=True), IMAGES.observe())


def test_a_guide_that_takes_gradients_says_so_in_inference_mode():
    encoder, model = MLPEncoder((1, 2, 2), [3]), VAE(StandardNormal(2), MLPDecoder(2, (1, 2, 2), [3]))
    guide = SemiAmortizedGuide(encoder, 2, model)
    x = torch.ones(4, 1, 2, 2)
    with torch.no_grad():
        assert poutine.trace(guide).get_trace(x).nodes["z"]["value"].shape == (4, 2)
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"use torch\.no_grad"):
        guide(x)
