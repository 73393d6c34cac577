"""The learned dequantiser, and transforms that see a context."""

import math

import pytest
import torch
from conftest import randomise
from pyro import poutine
from pyro.infer import Trace_ELBO

from inference import iwae_bound, log_weights
from pyro_models import MLP, AffineCoupling, FlowDequantizer, FlowModel, UniformDequantizer, flip_realnvp

SHAPE = (1, 2, 2)


def dequantizer(levels: int = 4, scale: float = 0.3) -> FlowDequantizer:
    return randomise(FlowDequantizer(SHAPE, levels, couplings=2, channels=8, blocks=1), scale)


def images(count: int, levels: int = 4) -> torch.Tensor:
    return torch.randint(0, levels, (count, *SHAPE)).to(torch.get_default_dtype())


def draw(guide, x):
    site = poutine.trace(guide).get_trace(x).nodes["y"]
    return site["value"], site["fn"]


@pytest.mark.parametrize("levels", [4, 17, 256])
def test_draws_fall_in_the_cells_of_their_pixels(levels):
    x = images(2000, levels)
    y, _ = draw(dequantizer(levels), x)
    assert y.shape == x.shape
    model = FlowModel(flip_realnvp(SHAPE, hidden=[8]), levels)
    model_trace = poutine.trace(poutine.condition(model, data={"y": y})).get_trace(x)
    assert (model_trace.nodes["x"]["fn"].log_prob(x) == 0).all()


@pytest.mark.usefixtures("float64")
def test_density_of_a_draw_is_that_of_its_inverse():
    guide, x = dequantizer(scale=0.1), images(50)
    y, q = draw(guide, x)
    torch.testing.assert_close(q.log_prob(y), q.log_prob(y.clone()), rtol=0, atol=1e-8)
    assert q.log_prob(y).shape == (50,)


@pytest.mark.usefixtures("float64")
def test_density_integrates_to_one_over_the_cell():
    """By importance sampling from the uniform guide, which covers the same cell."""
    guide, x = dequantizer(scale=0.15), images(3)
    y = UniformDequantizer(4)
    cell = poutine.trace(y).get_trace(x).nodes["y"]["fn"]
    draws = cell.rsample(torch.Size([20_000]))
    _, q = draw(guide, x)
    weight = (q.log_prob(draws) - cell.log_prob(draws)).exp().detach()
    error = weight.std(0) / math.sqrt(len(weight))
    assert ((weight.mean(0) - 1).abs() < 5 * error).all()


def test_it_starts_close_to_uniform_noise():
    x = images(500)
    y, q = draw(FlowDequantizer(SHAPE, 4, channels=8, blocks=1), x)
    divergence = (q.log_prob(y) - 4 * math.log(4)).mean()
    assert 0 <= divergence < 0.1 * 4  # nats, for four pixels; the probit stands in for the logit


def test_every_parameter_of_the_pair_gets_a_gradient():
    module = Trace_ELBO()(FlowModel(randomise(flip_realnvp(SHAPE, hidden=[8])), 4), dequantizer())
    module(images(30)).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_its_bound_is_one_on_the_same_evidence():
    """Both guides estimate the same probability, so that many samples bring their bounds together."""
    model = FlowModel(randomise(flip_realnvp(SHAPE, hidden=[8], alpha=0.0), 0.15), 4)
    x = images(20)
    bounds = [iwae_bound(log_weights(model, g, x, 5000), 5000) for g in (dequantizer(scale=0.1), UniformDequantizer(4))]
    torch.testing.assert_close(*bounds, rtol=0, atol=0.2)
    assert abs(bounds[0].mean() - bounds[1].mean()) < 0.03


def test_a_memory_of_a_draw_serves_only_that_draw():
    flow = randomise(flip_realnvp(SHAPE, hidden=[8]), 0.15)()
    y = flow.rsample(torch.Size([5]))
    kept = flow.log_prob(y)
    with torch.no_grad():
        y += 0.01 * (0.5 - y)  # changed in place: no longer the draw
    assert not torch.allclose(flow.log_prob(y), kept)
    without_gradient = flow.sample(torch.Size([5]))
    assert flow.log_prob(without_gradient).requires_grad


def test_a_context_reaches_the_network():
    coupling = randomise(AffineCoupling(MLP(2 + 3, (2, 2), [8])))
    x, context = torch.randn(7, 5, 4), torch.randn(5, 3)
    conditioned = coupling.condition(context)
    y, log_det = conditioned.forward_and_log_det(x)
    torch.testing.assert_close(conditioned.inverse_and_log_det(y)[0], x)
    other, _ = coupling.condition(context + 1).forward_and_log_det(x)
    assert not torch.allclose(y, other)
    torch.testing.assert_close(coupling.condition(context[2]).forward_and_log_det(x[:, 2])[1], log_det[:, 2])


@pytest.mark.parametrize(
    ("arguments", "message"), [({"levels": 1}, "levels"), ({"levels": 4, "couplings": 0}, "couplings")]
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        FlowDequantizer(SHAPE, **arguments)
