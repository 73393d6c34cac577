"""A step computes the log-density of each site once."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from inference import STL, BetaELBO, DReG, ELBOWithTerms, RenyiELBO
from inference.programs.densities_kept import DensitiesKept


class Counted(dist.Normal):
    """Normal distributions that count how often they compute a density."""

    calls = 0

    def log_prob(self, value: Tensor) -> Tensor:
        Counted.calls += 1
        return super().log_prob(value)

    def expand(self, batch_shape, _instance=None):
        return super().expand(batch_shape, self._get_checked_instance(Counted, _instance))


class Shifted(nn.Module):
    """z ~ N(loc, 1), observed as x ~ N(z, 1), with a distribution of z made once: a model, or a guide."""

    def __init__(self, observes: bool) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(0.3))
        self.observes = observes

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", Counted(self.loc, torch.ones(())))
            if self.observes:
                pyro.sample("x", Counted(z, torch.ones(())), obs=x)


@pytest.mark.parametrize("make", [Trace_ELBO, TraceMeanField_ELBO, RenyiELBO, STL, DReG, BetaELBO])
def test_a_step_computes_each_density_once(make):
    module = ELBOWithTerms(make(), Shifted(True), Shifted(False)).train()
    Counted.calls = 0
    loss, terms = module(torch.randn(5))
    # of x, and of z in both halves unless its divergence is closed
    assert Counted.calls == (1 if make is BetaELBO else 3)
    assert loss.requires_grad
    assert not any(part.requires_grad for part in terms)


def test_only_the_same_question_has_the_kept_answer():
    shared = dist.Normal(torch.zeros(3, requires_grad=True), 1.0)
    with DensitiesKept():
        x = pyro.sample("x", shared).detach()
        with torch.no_grad():
            constant = shared.log_prob(x)
        density = shared.log_prob(x)
        assert density.requires_grad
        assert not constant.requires_grad
        assert shared.log_prob(x) is density
        assert shared.log_prob(x.clone()) is not density
        density = shared.log_prob(x)
        with torch.no_grad():
            assert not shared.log_prob(x).requires_grad
            x += 1
            shared.loc.sub_(1)
        assert torch.equal(shared.log_prob(x), dist.Normal(shared.loc, 1.0).log_prob(x))
    assert "log_prob" not in vars(shared)


def test_distributions_compute_again_after_an_error():
    shared = dist.Normal(0.0, 1.0)
    with pytest.raises(AttributeError, match="nothing"), DensitiesKept():
        pyro.sample("x", shared).nothing()
    assert "log_prob" not in vars(shared)
