"""Integer pixels and their continuous intensities."""

import math

import pytest
import torch
from conftest import randomise
from pyro import poutine

from inference import iwae_bound, log_weights
from pyro_models import FlowDequantizer, FlowModel, UniformDequantizer, flip_realnvp
from pyro_models.distributions import Quantized, UniformCell


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_draws_stay_in_their_cell_in_single_precision(levels):
    x = torch.arange(levels).float()[:, None]  # one pixel an image
    for _ in range(20):
        y = UniformCell(x, levels, event_dim=1).rsample(torch.Size([10_000]))
        assert torch.equal((levels * y).floor(), x.expand_as(y))
        assert (Quantized(y, levels, event_dim=1).log_prob(x) == 0).all()


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_edges_of_a_cell_are_not_lost_to_rounding(levels):
    x = torch.arange(levels).float()[:, None]
    for y in (x / levels, (x + 1) / levels):
        assert (Quantized(y, levels, event_dim=1).log_prob(x) == 0).all()
        assert torch.isfinite(UniformCell(x, levels, event_dim=1).log_prob(y)).all()


def test_density_of_a_cell_is_exact():
    x = torch.randint(0, 17, (4, 1, 8, 8)).float()
    cell = UniformCell(x, 17, event_dim=3)
    expected = torch.full((3, 4), 64 * math.log(17))
    assert torch.equal(cell.log_prob(cell.rsample(torch.Size([3]))), expected)


def test_other_cells_have_no_density():
    x = torch.tensor([[3.0, 4.0]])
    y = torch.tensor([[3.5 / 8, 5.5 / 8]])
    assert UniformCell(x, 8, event_dim=1, validate_args=False).log_prob(y).item() == -math.inf
    assert Quantized(y, 8, event_dim=1).log_prob(x).item() == -math.inf


def test_uniform_cell_is_uniform():
    draws = UniformCell(torch.zeros(1), 2, event_dim=1).rsample(torch.Size([100_000])) * 2
    quantiles = draws.flatten().quantile(torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]), rtol=0, atol=0.01)


def test_intensities_outside_the_unit_interval_become_the_nearest_level():
    y = torch.tensor([[-0.1, 1.0, 1.1, 0.3]])
    assert Quantized(y, 4, event_dim=1).sample().tolist() == [[0, 3, 3, 1]]


def test_probabilities_of_all_images_sum_to_one():
    """The 16 images of two pixels with four levels, with the bound of many samples for each probability."""
    torch.set_default_dtype(torch.float64)
    model = FlowModel(randomise(flip_realnvp((2,), hidden=[8], alpha=0.0), 0.3), levels=4)
    x = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    log_w = log_weights(model, UniformDequantizer(4), x, num_samples=20_000)
    elbo, tight = (iwae_bound(log_w, m).exp().sum().item() for m in (1, 20_000))
    assert elbo < tight
    assert tight == pytest.approx(1, abs=0.01)


def test_uniform_pixels_cost_log2_of_the_levels():
    """No flow beats log2(levels) bits on noise, and the uniform density reaches it."""

    class Uniform(torch.nn.Module):
        def forward(self):
            import pyro.distributions as dist

            return dist.Uniform(torch.zeros(1, 2, 4), 1.0).to_event(3)

    x = torch.randint(0, 16, (200, 1, 2, 4)).float()
    uniform = log_weights(FlowModel(Uniform(), 16), UniformDequantizer(16), x, 1)
    torch.testing.assert_close(-uniform.mean() / (8 * math.log(2)), torch.tensor(4.0))
    flow = randomise(flip_realnvp((1, 2, 4), hidden=[8]), 0.2)
    other = log_weights(FlowModel(flow, 16), UniformDequantizer(16), x, 1)
    assert -other.mean() / (8 * math.log(2)) > 4


@pytest.mark.parametrize(
    "make", [lambda: FlowModel(torch.nn.Identity(), 1), lambda: UniformDequantizer(0), lambda: UniformDequantizer(2.5)]
)
def test_fewer_than_two_levels_are_refused(make):
    with pytest.raises((ValueError, TypeError), match="levels must be a whole number of at least 2|Argument levels"):
        make()


@pytest.mark.parametrize("pixel", [0.5, 17.0, 255.0, -1.0, math.nan])
@pytest.mark.parametrize("make", [UniformDequantizer, lambda levels: FlowDequantizer((1, 1, 2), levels, 1, 2, 1)])
def test_pixels_that_are_none_of_the_levels_are_refused(make, pixel):
    x = torch.tensor([[[[3.0, pixel]]]])
    guide, model = make(17), FlowModel(randomise(flip_realnvp((1, 1, 2), 2, [4]), 0.2), 17)
    for program, data in ((guide, {}), (model, {"y": torch.rand(1, 1, 1, 2)})):
        with pytest.raises(ValueError, match="whole numbers from 0 to 16, .* 1 of 2 are not, such as"):
            poutine.trace(poutine.condition(program, data=data)).get_trace(x).compute_log_prob()
    good = torch.tensor([[[[0.0, 16.0]]]])
    guide(good)
    model(good)


def test_pixels_that_are_none_of_the_levels_have_no_probability():
    y = torch.tensor([[0.55], [0.99], [0.99]])
    x = torch.tensor([[2.2], [4.0], [3.0]])  # between two levels, in no cell, in the last one
    assert Quantized(y, 4, event_dim=1, validate_args=False).log_prob(x).tolist() == [-math.inf, -math.inf, 0]
