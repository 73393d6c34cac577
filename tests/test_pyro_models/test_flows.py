"""Flows are normalised densities, and equal those known exactly."""

import pyro.distributions as dist
import pytest
import torch
from conftest import randomise
from torch.distributions.transforms import AffineTransform

from pyro_models import AffineCoupling, Flip, Flow, FlowDistribution, flip_realnvp, great_circle, straight

pytestmark = pytest.mark.usefixtures("float64")


def small_flow(shape=(1, 2, 4), **options) -> Flow:
    return randomise(flip_realnvp(shape, hidden=[16], **options), 0.15)


def test_two_dimensional_flow_integrates_to_one():
    flow = small_flow((2,), alpha=0.0, bound=0.7)
    u = torch.linspace(-25, 25, 1001)  # logits, for the mass close to the sides of the square
    grid = torch.cartesian_prod(u, u)
    area = (u[1] - u[0]) ** 2 * (grid.sigmoid() * (-grid).sigmoid()).prod(-1)
    with torch.no_grad():
        mass = (flow().log_prob(grid.sigmoid()).exp() * area).sum()
    assert mass.item() == pytest.approx(1, abs=1e-3)


def test_mass_that_a_margin_loses_is_counted_as_lost():
    flow = flip_realnvp((2,), hidden=[8], alpha=0.2)  # the identity before the sigmoid: far too wide for the square
    middle = (torch.arange(400) + 0.5) / 400
    inside = flow().log_prob(torch.cartesian_prod(middle, middle)).exp().mean().item()
    drawn = flow()(torch.Size([200_000]))
    share = ((drawn >= 0) & (drawn <= 1)).all(-1).double().mean()
    assert inside < 0.99
    assert inside == pytest.approx(float(share), abs=5e-3)


def test_affine_flow_is_the_normal_distribution_it_must_be():
    flow = Flow([AffineTransform(3.0, 1.5, event_dim=1)], size=1)
    x = torch.linspace(-5, 10, 31)[:, None]
    torch.testing.assert_close(flow().log_prob(x), dist.Normal(3.0, 1.5).log_prob(x[:, 0]))
    draws = flow()(torch.Size([200_000]))
    assert float(draws.mean()) == pytest.approx(3, abs=4 * 1.5 / 200_000**0.5)
    assert float(draws.std()) == pytest.approx(1.5, rel=0.01)


def test_density_equals_that_of_the_general_transformed_distribution():
    flow = small_flow()
    y = torch.rand(3, 5, 1, 2, 4)
    general = dist.TransformedDistribution(flow().base_dist, flow.transforms)
    assert isinstance(flow(), FlowDistribution)
    torch.testing.assert_close(flow().log_prob(y), general.log_prob(y))
    assert flow().log_prob(y).shape == (3, 5)


def test_the_assigned_flow_has_four_pairs():
    kinds = [type(t) for t in flip_realnvp((1, 8, 8)).transforms]
    assert kinds[:8] == [AffineCoupling, Flip] * 4
    assert AffineCoupling not in kinds[8:]
    assert Flip not in kinds[8:]


def test_each_half_is_transformed_by_its_turn():
    flow = small_flow((8,), pairs=2)
    epsilon = torch.randn(8, requires_grad=True)
    y = flow().from_base(epsilon)
    dependence = torch.stack([torch.autograd.grad(v, epsilon, retain_graph=True)[0] for v in y])
    moved = (dependence - torch.diag(dependence.diag())).abs().sum(1) > 0
    assert moved.all()


def test_base_space_and_back():
    flow = small_flow()
    epsilon = torch.randn(6, 8)
    y = flow().from_base(epsilon)
    back, _ = flow().to_base(y)
    torch.testing.assert_close(back, epsilon, rtol=0, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"separate": True}, {"bound": None}, {"dropout": 0.2}])
def test_every_parameter_gets_a_gradient(options):
    flow = small_flow(**options).train()
    flow().log_prob(torch.rand(20, 1, 2, 4)).mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_survive_saving():
    flow, other = small_flow(), small_flow()
    other.load_state_dict(flow.state_dict())
    y = torch.rand(4, 1, 2, 4)
    assert torch.equal(flow().log_prob(y), other().log_prob(y))


def test_precision_follows_the_module():
    y = flip_realnvp((1, 2, 2)).to(torch.float32)().rsample(torch.Size([3]))
    assert y.dtype == torch.float32
    assert y.shape == (3, 1, 2, 2)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [((1, 3, 3), {}, "9 pixels"), ((4,), {"pairs": 0}, "pairs"), ((4,), {"hidden": [0]}, "sizes"), ((0,), {}, "even")],
)
def test_bad_sizes_are_named(shape, options, message):
    with pytest.raises(ValueError, match=message):
        flip_realnvp(shape, **options)


def test_an_empty_flow_is_refused():
    with pytest.raises(ValueError, match="at least one transform"):
        Flow([], 2)


def test_paths_end_where_they_should():
    a, b = torch.randn(3, 50), torch.randn(3, 50)
    for path in (straight(a, b, 5), great_circle(a, b, 5)):
        assert path.shape == (5, 3, 50)
        torch.testing.assert_close(path[0], a)
        torch.testing.assert_close(path[-1], b)


def test_great_circle_keeps_the_length_of_points_on_a_sphere():
    a, b = (torch.nn.functional.normalize(torch.randn(20), dim=0) for _ in range(2))
    torch.testing.assert_close(great_circle(a, b, 7).norm(dim=-1), torch.ones(7))
