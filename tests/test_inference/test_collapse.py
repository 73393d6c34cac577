"""The threshold of collapse, against the weighted bound itself, computed by quadrature."""

import copy

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import collapse_threshold
from inference.evaluation.collapse import _largest_eigenvalue, _without_code
from pyro_models import AutoregressivePixels, BernoulliPixels, LogisticPixels

SHAPE = (1, 2, 3)
LIKELIHOODS = {
    "independent": BernoulliPixels,
    "autoregressive": lambda: AutoregressivePixels(SHAPE, sight=1),
}
pytestmark = pytest.mark.usefixtures("float64")


def correlated(count: int = 400) -> torch.Tensor:
    torch.manual_seed(0)
    common = torch.randn(count, 1)
    return (common * torch.linspace(0.5, 3, 6) + torch.randn(count, 6) > 0.3).double().reshape(-1, *SHAPE)


def test_of_independent_pixels_it_is_the_largest_eigenvalue_of_their_correlations():
    x = correlated()
    expected = np.linalg.eigvalsh(np.corrcoef(x.flatten(1).numpy().T))[-1]
    assert collapse_threshold(BernoulliPixels(), x) == pytest.approx(expected, rel=1e-3)
    labels = torch.arange(len(x)) % 2
    x[labels == 0, :, :, :2] = torch.rand(200, 1, 2, 2).round()  # of one class most pixels are independent
    largest = [np.linalg.eigvalsh(np.corrcoef(x[labels == c].flatten(1).numpy().T))[-1] for c in (0, 1)]
    assert largest[1] > largest[0] + 0.5
    for kind in (torch.long, torch.uint8, torch.int16):
        assert collapse_threshold(BernoulliPixels(), x, labels.to(kind)) == pytest.approx(largest[1], rel=1e-3)


def test_a_pixel_that_never_varies_is_left_out():
    x = correlated()
    wider = torch.cat([x, torch.zeros(len(x), 1, 2, 1)], dim=-1)
    assert collapse_threshold(BernoulliPixels(), wider) == pytest.approx(
        collapse_threshold(BernoulliPixels(), x), rel=1e-3
    )


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_beyond_it_no_small_step_from_collapse_gains_and_before_it_one_does(name):
    x, size = correlated(), 6
    zeros = torch.zeros(len(x), dtype=torch.long)
    threshold = collapse_threshold(LIKELIHOODS[name](), x)
    assert threshold > 1
    likelihood, constants = _without_code(LIKELIHOODS[name](), x, zeros, 500)
    raw = constants.expand(len(x), *SHAPE).clone().requires_grad_()
    (score,) = torch.autograd.grad(likelihood(raw).log_prob(x).sum(), raw)
    score = score.flatten(1)
    nodes, weights = (torch.tensor(part) for part in np.polynomial.hermite_e.hermegauss(30))
    weights = weights / weights.sum()

    @torch.no_grad()
    def gain(direction: torch.Tensor, beta: float, step: float = 1e-2) -> float:
        """The weighted bound for raw + step direction z and the best q = N(step mean(x), 1), less that of none."""
        mean = step * score @ direction / beta
        z = (mean[:, None] + nodes)[..., None] * step * direction
        log_prob = likelihood(constants[0] + z.reshape(len(x), len(nodes), *SHAPE)).log_prob(x[:, None])
        before = likelihood(constants.expand_as(x)).log_prob(x)
        return float((log_prob @ weights - before - beta * mean.square() / 2).mean())

    def weighted_bound_gains(beta: float) -> list[float]:
        curvature = score.square().mean(0)
        vectors = torch.linalg.eigh(score.T @ score / len(x) / (curvature[:, None] * curvature).sqrt())[1]
        directions = [*(vectors / curvature.sqrt()[:, None]).T, *torch.randn(50, size)]
        return [gain(direction / direction.norm(), beta) for direction in directions]

    assert max(weighted_bound_gains(1.03 * threshold)) < 0
    assert max(weighted_bound_gains(0.97 * threshold)) > 0


def test_scores_are_scaled_by_the_mean_curvature():
    score, curvature = torch.randn(50, 4), torch.rand(50, 4)
    scale = curvature.numpy().mean(0) ** -0.5
    expected = np.linalg.eigvalsh(scale[:, None] * (score.T @ score / 50).numpy() * scale)[-1]
    assert _largest_eigenvalue(score, curvature) == pytest.approx(expected)


def test_the_logit_of_a_pixel_that_never_varies_is_finite_by_a_very_wide_prior():
    """Where d/dc of -log p(0) + 1e-5 c^2, that is sigmoid(c) + 2e-5 c, is zero."""
    _, (constants,) = _without_code(BernoulliPixels(), torch.zeros(5, *SHAPE), torch.zeros(5, dtype=torch.long), 500)
    torch.testing.assert_close(constants.sigmoid(), -2e-5 * constants, rtol=0.05, atol=0)


def test_more_than_one_number_a_pixel_is_told():
    with pytest.raises(ValueError, match="one number for each pixel"):
        collapse_threshold(LogisticPixels(4), torch.zeros(3, *SHAPE))


def test_it_is_worked_out_in_double_precision_and_leaves_the_likelihood_as_it_was():
    x, likelihood = correlated(100), LIKELIHOODS["autoregressive"]()
    single = copy.deepcopy(likelihood).float()
    before = {name: value.clone() for name, value in single.state_dict().items()}
    assert collapse_threshold(single, x.float()) == pytest.approx(collapse_threshold(likelihood, x), rel=1e-3)
    after = single.state_dict()
    assert all(value.dtype == torch.float32 for value in single.parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


class CorrelatedPixels(nn.Module):
    per_pixel = 1

    def forward(self, raw):
        count = raw[0].numel()
        return dist.MultivariateNormal(raw.flatten(1), 0.5 * torch.eye(count).to(raw) + 0.5)


def test_what_the_proof_does_not_cover_gives_no_threshold():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="curvature must be a diagonal"):
        collapse_threshold(CorrelatedPixels(), torch.randn(50, 3))
    x = (torch.rand(300, 1, 2, 3) < torch.tensor([0.05, 0.2, 0.5])).float()
    with pytest.warns(UserWarning, match="not found in 1 steps"):
        collapse_threshold(BernoulliPixels(), x, steps=1)
