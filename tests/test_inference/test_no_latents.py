"""A model that observes all its sites: its guide draws nothing, and every bound is log p(x) itself."""

import json

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from vector_pairs import Gaussian, Nothing, vectors

from inference import (
    STL,
    BetaELBO,
    CompiledELBO,
    DReG,
    ELBOWithTerms,
    RenyiELBO,
    Settings,
    Trace_ELBO,
    TraceMeanField_ELBO,
    Weigher,
    check_pair,
    diagnose,
    fit,
    iwae_bound,
    log_weights,
    negative_bounds,
    standardise,
)

OBJECTIVES = {
    "Trace_ELBO": Trace_ELBO,
    "Trace_ELBO of three": lambda: Trace_ELBO(num_particles=3),
    "TraceMeanField_ELBO": TraceMeanField_ELBO,
    "RenyiELBO": RenyiELBO,
    "RenyiELBO of order 1/2": lambda: RenyiELBO(0.5, 4),
    "RenyiELBO of order 1": lambda: RenyiELBO(1.0),
    "DReG": DReG,
    "STL": lambda: STL(2),
    "BetaELBO": lambda: BetaELBO(0.3),
    "BetaELBO with free bits": lambda: BetaELBO(free_bits=0.5),
}
DATA = vectors(40)
X = DATA.observe()


def pair() -> tuple[Gaussian, Nothing]:
    model = Gaussian()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model, Nothing()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_loss_is_minus_log_p(name, compiled):
    model, guide = pair()
    expected = -model.distribution.log_prob(X)
    gradients = torch.autograd.grad(expected.mean(), list(model.parameters()))
    step: nn.Module = ELBOWithTerms(OBJECTIVES[name](), model, guide)
    if compiled:
        step = CompiledELBO(step, backend="eager")
    loss, terms = step(X)
    torch.testing.assert_close(loss, expected.mean())
    torch.testing.assert_close(terms.reconstruction, expected.detach())
    assert terms.kl.shape == (len(X),)
    assert not terms.kl.any()
    torch.testing.assert_close(torch.autograd.grad(loss, list(model.parameters())), gradients)


def test_every_m_gives_the_same_bound():
    model, guide = pair()
    exact = model.distribution.log_prob(X).detach()
    for weigh in (None, Weigher(model, guide, pairs=10**9, backend="eager")):
        log_w = log_weights(model, guide, X, 12, weigh=weigh)
        assert log_w.shape == (12, len(X))
        assert (log_w == log_w[0]).all()
        for m in (1, 5, 12):
            torch.testing.assert_close(iwae_bound(log_w, m), exact, rtol=1e-6, atol=1e-6)
    bounds = negative_bounds(model, guide, DATA, ms=(1, 7, 50), repeats=2)
    for bound in bounds.values():
        assert bound.value == pytest.approx(-float(exact.double().mean()), rel=1e-6)
        assert bound.standard_error == pytest.approx(0, abs=1e-6)


def test_the_density_is_computed_once_for_all_particles():
    seen = []

    class Spy(Gaussian):
        def forward(self, x, labels=None):
            seen.append([frame.name for frame in pyro.poutine.runtime._PYRO_STACK if isinstance(frame, pyro.plate)])
            super().forward(x)

    log_weights(Spy(), Nothing(), X, 50)
    RenyiELBO(num_particles=50).loss(Spy(), Nothing(), X)
    DReG(50).loss(Spy(), Nothing(), X)
    assert seen == [[], [], []]


def test_a_diagnosis_without_latents_says_so():
    model, guide = pair()
    found = diagnose(model, guide, DATA, num_samples=100)
    assert found.latents == []
    assert found.gap == pytest.approx(0, abs=1e-4)
    assert found.negative_elbo == pytest.approx(-float(model.distribution.log_prob(X).detach().mean()), rel=1e-6)
    (line,) = found.verdict()
    assert "log p(x) itself" in line
    assert "Pareto" not in line
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_gaussian_reaches_its_entropy():
    """Of the data in hand: with the maximum-likelihood covariance, (D log 2 pi e + log det) / 2."""
    (data,) = standardise(vectors(1000))
    model, guide = Gaussian(), Nothing()
    settings = Settings(epochs=40, batch_size=100, lr=0.1, device="cpu", compile="off")
    rows = fit(model, guide, data, settings=settings, show=None)
    covariance = data.values.double().T.cov(correction=0)
    entropy = float(dist.MultivariateNormal(torch.zeros(3).double(), covariance).entropy())
    assert rows[-1]["train_negative_elbo"] == pytest.approx(entropy, abs=0.02)
    assert rows[-1]["train_kl"] == 0


class Latent(nn.Module):
    """Draws a code, and observes the data or not."""

    def __init__(self, observes: bool = True) -> None:
        super().__init__()
        self.observes = observes
        self.loc = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0).to_event(1))
            if self.observes:
                pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class Unobserved(nn.Module):
    """A model of x alone whose author forgot obs=."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.loc, 1.0).to_event(1))


@pytest.mark.parametrize(
    ("model", "guide", "message"),
    [
        (lambda: Latent(), Nothing, r"the same latents; the model draws \['z'\], the guide \[\]"),
        (Unobserved, Nothing, "the model observes nothing: pass the data to one of its sites"),
        (Gaussian, lambda: Latent(False), r"the model draws \[\], the guide \['z'\]"),
        (Nothing, Nothing, "the model observes nothing"),
    ],
)
def test_a_guide_without_latents_is_refused_where_the_model_has_some(model, guide, message):
    for run in (
        lambda: check_pair(model(), guide(), DATA, Trace_ELBO()),
        lambda: log_weights(model(), guide(), X, 3),
        lambda: RenyiELBO().loss(model(), guide(), X),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            run()
        assert "\n" not in str(caught.value)
