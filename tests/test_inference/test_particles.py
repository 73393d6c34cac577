"""Programs that mean something else with many draws at once give no number; all others give the one of before."""

import copy
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import nn
from vector_pairs import PAIRS, SIZE, Nothing, vectors

import inference.programs.particles as particles
from inference import (
    DReG,
    RenyiELBO,
    Settings,
    Trace_ELBO,
    Vectors,
    check_pair,
    diagnose,
    fit,
    log_weights,
    negative_bounds,
    plot_density_2d,
    standardise,
)
from inference.programs.particles import check_particles

DATA = vectors(40)
PLANE = Vectors("plane", torch.randn(30, 2, generator=torch.Generator().manual_seed(0)))
WEIGHTS = torch.tensor([1.0, -2.0])


class Line(nn.Module):
    """x = c W + noise, of a code that is found in the latent by ``code``; a guide of it, if it has one to draw."""

    def __init__(self, code, latent=1, guide=False):
        super().__init__()
        self.code, self.latent, self.guide = code, latent, guide
        self.weights = nn.Parameter(WEIGHTS.clone())

    def forward(self, x, labels=None):
        with pyro.plate("data", len(x)):
            loc = x[:, :1] * self.weights[0] if self.guide else torch.zeros(())
            z = pyro.sample("z", dist.Normal(loc, 1.0).expand([len(x), self.latent]).to_event(1))
            if not self.guide:
                pyro.sample("x", dist.Normal(self.code(z) * self.weights, 1.0).to_event(1), obs=x)


WRONG = {
    "first column": (lambda z: z[:, 0][..., None], 1),
    "first column of three": (lambda z: z[:, 0][..., None], 2),
    "mean": (lambda z: z.mean(0, keepdim=True), 1),
    "flattened": (lambda z: z.reshape(-1, 1)[-2:], 1),
    "one draw for all": (lambda z: z.reshape(-1, 2, 1)[0], 1),
}
RIGHT = {
    "last column": (lambda z: z[..., 0][..., None], 1),
    "sliced": (lambda z: z[..., :1], 3),
    "summed": (lambda z: z.sum(-1, keepdim=True), 3),
}
NUMBERS = {
    "check_pair": lambda model, guide: check_pair(model, guide, PLANE, Trace_ELBO()),
    "fit": lambda model, guide: fit(model, guide, PLANE, settings=Settings(epochs=1, device="cpu"), show=None),
    "fit of Rényi's": lambda *pair: fit(*pair, PLANE, None, Settings(epochs=1, device="cpu"), RenyiELBO(), show=None),
    "fit of DReG": lambda *pair: fit(*pair, PLANE, None, Settings(epochs=1, device="cpu"), DReG(), show=None),
    "log_weights": lambda model, guide: log_weights(model, guide, PLANE.values, 1),
    "negative_bounds": lambda model, guide: negative_bounds(model, guide, PLANE, (1,), repeats=1),
    "diagnose": lambda model, guide: diagnose(model, guide, PLANE, num_samples=20),
    "plot_density_2d": lambda model, guide: plot_density_2d(model, guide, PLANE, size=5),
}


@pytest.mark.parametrize("number", NUMBERS)
def test_no_number_is_given_of_a_program_that_indexes_from_the_left(number):
    with pytest.raises(ValueError, match=r"site 'x' of the model.*z\[\.\.\., 0\] and not z\[:, 0\]") as caught:
        NUMBERS[number](Line(lambda z: z[:, 0][..., None]), Line(None, guide=True))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", WRONG)
def test_every_way_of_mixing_particles_is_found(name):
    code, latent = WRONG[name]
    with pytest.raises(ValueError, match="many draws at once"):
        check_particles(Line(code, latent), Line(None, latent, guide=True), PLANE.values)


@pytest.mark.parametrize("name", RIGHT)
def test_indexing_from_the_right_is_right(name):
    code, latent = RIGHT[name]
    check_particles(Line(code, latent), Line(None, latent, guide=True), PLANE.values)
    check_particles(Line(code, latent), Line(None, latent, guide=True), PLANE.values[:1])


class Chain(nn.Module):
    """A latent and one that depends on it, wrongly or rightly; the guide likewise."""

    def __init__(self, column, guide=False):
        super().__init__()
        self.column, self.guide = column, guide

    def forward(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(torch.ones(3)))
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            first = self.column(z)[..., None] + k[..., None] if self.guide else z.new_zeros(1)
            y = pyro.sample("y", dist.Normal(first * WEIGHTS, 1.0).to_event(1))
            with pyro.plate("half", 2, dim=-3), poutine.mask(mask=torch.arange(len(x)) < 1):
                if not self.guide:
                    pyro.sample("x", dist.Normal(y, 1.0).to_event(1), obs=x)


def test_guides_are_tried_too_with_several_latents_plates_and_masks():
    model, right, wrong = Chain(None), Chain(lambda z: z[..., 0], True), Chain(lambda z: z[:, 0], True)
    check_particles(model, right, PLANE.values)
    with pytest.raises(ValueError, match="site 'y' of the guide"):
        check_particles(model, wrong, PLANE.values)


def test_functions_and_labels_are_tried_and_the_store_stays():
    labels = torch.arange(30) % 3

    def model(x, labels):
        weights = pyro.param("weights", lambda: torch.randn(3, 2))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1))
            pyro.sample("x", dist.Normal(z[:, 0][..., None] + weights[labels], 1.0).to_event(1), obs=x)

    def guide(x, labels):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, :1], 1.0).to_event(1))

    data = replace(PLANE, labels=labels, conditional=True)
    with pytest.raises(ValueError, match="many draws at once"):
        fit(model, guide, data, settings=Settings(device="cpu"), show=None)
    with pytest.raises(ValueError, match="many draws at once"):
        negative_bounds(model, guide, data, (1,), repeats=1)
    assert not pyro.get_param_store()


class Noisy(Line):
    """A density that is random, of which nothing can be said."""

    def forward(self, x):
        with poutine.scale(scale=2.0):
            self.weights.data = WEIGHTS + torch.randn(2)
            super().forward(x)


def test_random_densities_and_programs_that_fail_otherwise_pass():
    guide = Line(None, guide=True)
    check_particles(Noisy(lambda z: z), guide, PLANE.values)
    check_particles(Line(lambda z: z), Noisy(None, guide=True), PLANE.values)
    check_particles(Line(lambda z: z[:, None, :, None, :].squeeze(0)), guide, PLANE.values)
    check_particles(Line(lambda z: z[5]), guide, PLANE.values)


class Restless(Line):
    """Counts its calls, and normalises by running statistics."""

    def __init__(self, guide=False):
        super().__init__(lambda z: z, guide=guide)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x):
        self.calls += 1
        self.norm(x)
        super().forward(x)


def test_buffers_modes_and_generators_stay():
    pair = Restless(), Restless(guide=True)
    before = [copy.deepcopy(half.state_dict()) for half in pair]
    state = torch.get_rng_state()
    check_particles(*pair, PLANE.values)
    torch.testing.assert_close([half.state_dict() for half in pair], before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for half in pair for part in half.modules())


@pytest.mark.parametrize("pair", PAIRS)
def test_weights_of_a_seed_are_those_without_the_trial(monkeypatch, pair):
    model, guide = PAIRS[pair]()
    torch.manual_seed(0)
    found = log_weights(model, guide, DATA.values, 5)
    monkeypatch.setattr("inference.programs.importance.check_particles_once", lambda *_: None)
    torch.manual_seed(0)
    assert torch.equal(found, log_weights(model, guide, DATA.values, 5))


def test_a_pair_that_has_passed_is_not_tried_again_by_log_weights(monkeypatch):
    tried = []
    monkeypatch.setattr(particles, "check_particles", lambda *pair: tried.append(pair))
    first, second = PAIRS["two latents"](), PAIRS["two latents"]()
    for pair in (first, first, second, (first[0], second[1]), first):
        log_weights(*pair, DATA.values, 2)
    assert [pair[:2] for pair in tried] == [first, second, (first[0], second[1])]

    class Odd:
        __slots__ = ()  # so that nothing can refer to it weakly

        def __call__(self, x):
            first[0](x)

    log_weights(Odd(), first[1], DATA.values, 2)
    assert len(tried) == 4


def test_many_enumerated_and_large_densities_are_no_false_alarm():
    class Large(nn.Module):
        def forward(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1e-3).to_event(1))
                loc = 1e3 * torch.linspace(0, 1, 300).cos() * z.sum(-1, keepdim=True)
                pyro.sample("x", dist.Normal(loc, 1e-2).to_event(1), obs=x[..., :1].expand(len(x), 300))

    check_particles(Large(), Line(None, 2, guide=True), PLANE.values)

    class Choice(nn.Module):
        def __init__(self, guide=False):
            super().__init__()
            self.guide, self.logits = guide, nn.Parameter(torch.zeros(2))

        def forward(self, x):
            with pyro.plate("data", len(x)):
                infer = {"enumerate": "parallel"} if self.guide else {}
                k = pyro.sample("k", dist.Categorical(logits=self.logits), infer=infer)
                if not self.guide:
                    pyro.sample("x", dist.Normal(k[..., None] * WEIGHTS, 1.0).to_event(1), obs=x)

    pair = Choice(), Choice(guide=True)
    assert check_pair(*pair, PLANE, TraceEnum_ELBO(max_plate_nesting=1)) == []


def test_the_trial_has_teeth(monkeypatch):
    """Without a tolerance every program fails, and without a comparison none: the comparison decides."""
    pair = PAIRS["two latents"]()
    check_particles(*pair, DATA.values)
    monkeypatch.setattr(particles, "_differ", lambda *_: True)
    with pytest.raises(ValueError, match="site 'z_1' of the guide"):
        check_particles(*pair, DATA.values)


class Partly(nn.Module):
    """A model of some of the columns, with labels or masked observations besides."""

    def __init__(self, columns=slice(None), mask=None, counts=False):
        super().__init__()
        self.columns, self.mask, self.counts = columns, mask, counts
        self.loc = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        seen = x[:, self.columns]
        with pyro.plate("data", len(x)):
            if self.counts:
                pyro.sample("y", dist.Bernoulli(0.5), obs=torch.zeros(len(x)))
            with poutine.mask(mask=True if self.mask is None else self.mask[: len(x)]):
                pyro.sample("x", dist.Normal(self.loc.expand(seen.shape[1]), 1.0).to_event(1), obs=seen)


@pytest.mark.parametrize("number", ["check_pair", "negative_bounds", "diagnose"])
@pytest.mark.parametrize("columns", [{"columns": slice(1)}, {"mask": torch.arange(60) % 2 > 0}])
def test_standardised_data_must_be_observed_in_full(number, columns):
    (shown,) = standardise(DATA)
    numbers = {
        "check_pair": lambda model, data: check_pair(model, Nothing(), data, Trace_ELBO()),
        "negative_bounds": lambda model, data: negative_bounds(model, Nothing(), data, (1,), repeats=1),
        "diagnose": lambda model, data: diagnose(model, Nothing(), data, num_samples=20),
    }
    with pytest.raises(ValueError, match=rf"of the {SIZE} dimensions of .* not standardised") as caught:
        numbers[number](Partly(**columns), shown)
    assert "\n" not in str(caught.value)
    numbers[number](Partly(**columns), DATA)
    numbers[number](Partly(counts=True), shown)


def fails(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([len(x)]))
        pyro.sample("x", dist.Normal(z[:, None] * torch.ones(SIZE), 1.0).to_event(1), obs=x)


def of_fails(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x[:, 0], 1.0))


@pytest.mark.parametrize(
    "number",
    [
        lambda: log_weights(fails, of_fails, DATA.values, 2),
        lambda: negative_bounds(fails, of_fails, DATA, (1,), repeats=1),
        lambda: diagnose(fails, of_fails, DATA, num_samples=20),
    ],
)
def test_programs_that_fail_with_many_draws_alone_say_so_in_a_line(number):
    with pytest.raises(ValueError, match=r"with many draws at once: RuntimeError: The size.*z\[\.\.\., None") as caught:
        number()
    assert "\n" not in str(caught.value)


def rows_of_their_own(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(pyro.param("loc", torch.zeros(len(x), SIZE)), 1.0).to_event(1), obs=x)


def test_a_parameter_with_a_row_for_each_observation_is_refused_in_a_line():
    with pytest.raises(ValueError, match=r"Shape mismatch inside plate.*no parameter may have len\(x\) rows") as caught:
        fit(rows_of_their_own, lambda x: None, DATA, settings=Settings(device="cpu"), show=None)
    assert "\n" not in str(caught.value)
