"""Flows are normalised densities, and equal those known exactly."""

import pyro.distributions as dist
import pytest
import torch
from conftest import randomise
from torch.autograd.functional import jacobian
from torch.distributions.transforms import AffineTransform

from pyro_models import (
    ActNorm,
    AffineCoupling,
    ChannelPart,
    Flip,
    Flow,
    FlowDistribution,
    MaskedCoupling,
    Squeeze,
    flip_realnvp,
    great_circle,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
    straight,
)

pytestmark = pytest.mark.usefixtures("float64")


SHAPE = (1, 2, 4)
FLOWS = {
    "flip": lambda **options: flip_realnvp(SHAPE, hidden=[16], **options),
    "flip, separate networks": lambda **options: flip_realnvp(SHAPE, hidden=[16], separate=True, **options),
    "flip, no bound": lambda **options: flip_realnvp(SHAPE, hidden=[16], bound=None, **options),
    "flip, dropout": lambda **options: flip_realnvp(SHAPE, hidden=[16], dropout=0.2, **options),
    "masked": lambda **options: masked_realnvp(SHAPE, hidden=[16], **options),
    "image": lambda **options: image_realnvp(SHAPE, channels=16, blocks=1, **options),
    "multi-scale": lambda **options: multiscale_realnvp((1, 4, 4), scales=2, channels=8, blocks=1, **options),
    "image, two channels": lambda **options: image_realnvp((2, 2, 2), channels=16, blocks=1, **options),
}


@pytest.fixture(params=FLOWS)
def flow(request) -> Flow:
    return randomise(FLOWS[request.param](), 0.15).eval()


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


def test_density_equals_that_of_the_general_transformed_distribution(flow):
    shape = flow().event_shape
    y = torch.rand(3, 5, *shape)
    general = dist.TransformedDistribution(flow().base_dist, flow.transforms)
    assert isinstance(flow(), FlowDistribution)
    torch.testing.assert_close(flow().log_prob(y), general.log_prob(y))
    assert flow().log_prob(y).shape == (3, 5)


def test_density_is_the_jacobian_of_the_way_to_the_base(flow):
    shape = flow().event_shape
    y = torch.rand(shape)
    epsilon, _ = flow().to_base(y)
    matrix = jacobian(lambda y: flow().to_base(y)[0], y).reshape(epsilon.numel(), epsilon.numel())
    expected = dist.Normal(0.0, 1.0).log_prob(epsilon).sum() + torch.linalg.slogdet(matrix).logabsdet
    torch.testing.assert_close(flow().log_prob(y), expected, rtol=0, atol=1e-8)


def test_the_flip_flow_has_four_pairs_by_default():
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


def test_base_space_and_back(flow):
    epsilon = torch.randn(6, *flow().base_dist.event_shape)
    y = flow().from_base(epsilon)
    back, _ = flow().to_base(y)
    torch.testing.assert_close(back, epsilon, rtol=0, atol=1e-7)


def test_every_pixel_is_transformed(flow):
    epsilon = torch.randn(flow().base_dist.event_shape, requires_grad=True)
    y = flow().from_base(epsilon).flatten()
    matrix = torch.stack([torch.autograd.grad(v, epsilon, retain_graph=True)[0] for v in y])
    untouched = ((matrix != 0).sum(1) <= 1).sum()
    assert untouched == 0


def test_every_parameter_gets_a_gradient(flow):
    flow.train()
    flow().log_prob(torch.rand(20, *flow().event_shape)).mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_survive_saving(flow):
    y = torch.rand(4, *flow().event_shape)
    expected = flow().log_prob(y)
    state = {name: value.clone() for name, value in flow.state_dict().items()}
    randomise(flow)
    flow.load_state_dict(state)
    assert torch.equal(flow().log_prob(y), expected)


def test_samples_have_the_density(flow):
    """E_p[f / p] over draws is the integral of f, here a normal density in base space."""
    draws = flow().sample(torch.Size([5_000]))
    epsilon, log_det = flow().to_base(draws)
    f = dist.Normal(0.1, 0.9).log_prob(epsilon).sum(-1) + log_det
    weight = (f - flow().log_prob(draws)).exp().detach()
    assert weight.mean().item() == pytest.approx(1, abs=5 * weight.std().item() / 5_000**0.5)


def test_a_multiscale_flow_leaves_half_the_variables_at_each_scale():
    flow = multiscale_realnvp((1, 8, 8), scales=3, channels=2, blocks=1)
    part = next(t for t in flow.transforms if isinstance(t, ChannelPart))
    assert part.channels == 2  # of 4
    deeper = next(t for t in part.transforms if isinstance(t, ChannelPart))
    assert deeper.channels == 4  # of 8
    masks = [t.mask.shape for t in deeper.transforms if isinstance(t, MaskedCoupling)]
    assert masks == [(4, 2, 2)] * 4


def test_the_masked_flow_takes_turns():
    couplings = [t for t in masked_realnvp((8,), layers=4).transforms if isinstance(t, AffineCoupling)]
    assert [c.halves.swap for c in couplings] == [False, True, False, True]


def test_the_image_flow_is_that_of_its_docstring():
    kinds = [type(t) for t in reversed(image_realnvp((1, 4, 4), channels=2, blocks=1).transforms)]
    masked, channels, norm = MaskedCoupling, AffineCoupling, ActNorm
    assert kinds[1:8] == [masked, norm, masked, norm, masked, norm, masked]
    assert kinds[9:14] == [channels, norm, channels, norm, channels]
    assert kinds[14] is Squeeze
    assert kinds[15:20] == [masked, norm, masked, norm, masked]


def test_the_image_flow_has_128_channels_and_4_blocks_by_default():
    flow = image_realnvp((1, 28, 28))
    first, inner = (
        next(t for t in flow.transforms if isinstance(t, kind)) for kind in (MaskedCoupling, AffineCoupling)
    )
    widths = [
        [(c.in_channels, c.out_channels) for c in t.modules() if isinstance(c, torch.nn.Conv2d)] for t in (first, inner)
    ]
    assert widths[0] == [(1, 128), *[(128, 128)] * 12, (128, 2)]
    assert widths[1] == [(2, 128), *[(128, 128)] * 12, (128, 4)]


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


def test_great_circle_changes_its_length_evenly():
    a, b = torch.randn(20), torch.randn(20)
    torch.testing.assert_close(great_circle(a, b, 7).norm(dim=-1), torch.linspace(float(a.norm()), float(b.norm()), 7))
    assert torch.isfinite(great_circle(a, -2 * a, 5)).all()
    assert torch.isfinite(great_circle(torch.zeros(3), torch.ones(3), 4)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: masked_realnvp((9,)), "9 pixels"),
        (lambda: masked_realnvp((8,), layers=1), "layers must be at least 2"),
        (lambda: image_realnvp((1, 3, 4)), "multiples of 2"),
        (lambda: multiscale_realnvp((1, 28, 28), scales=4), "multiples of 8"),
        (lambda: multiscale_realnvp((1, 4, 4), scales=3), "more than one pixel"),
        (lambda: multiscale_realnvp((1, 4, 4), scales=0), "at least 1"),
        (lambda: image_realnvp((16,)), r"\(C, H, W\)"),
        (lambda: image_realnvp((1, 4, 4), inner=0), "at least 1"),
        (lambda: image_realnvp((1, 4, 4), blocks=0), "blocks"),
    ],
)
def test_bad_sizes_of_other_flows_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_draw_without_an_account_of_changes_is_inverted_like_any_other(flow):
    with torch.inference_mode():
        given = flow()
        y = given.sample()
        assert torch.isfinite(given.log_prob(y))


def test_gradient_with_respect_to_a_value_that_was_drawn(flow):
    flow.requires_grad_(False)
    given = flow()
    y = given.rsample().requires_grad_()
    (gradient,) = torch.autograd.grad(given.log_prob(y), y)
    (expected,) = torch.autograd.grad(flow().log_prob(y), y)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("make", [FLOWS["flip"], FLOWS["image"]])
def test_log_determinants_keep_the_precision_of_the_data_under_autocast(make):
    torch.set_default_dtype(torch.float32)
    flow = randomise(make(), 0.2).eval()
    y = torch.rand(3, *SHAPE)
    with torch.autocast("cpu", torch.bfloat16):
        given = flow()
        epsilon, log_det = given.to_base(y)
        back = given.from_base(epsilon)
    assert log_det.dtype == torch.float32
    torch.testing.assert_close(back, y, rtol=0, atol=1e-4)
    assert not torch.equal(log_det, log_det.bfloat16().float())


def test_a_transform_and_its_inverse_are_registered_once():
    flow = FLOWS["image"]()
    assert sum(isinstance(module, Squeeze) for module in flow.registered) == 1
    coupling = AffineCoupling(torch.nn.Identity())
    assert next(iter(Flow([coupling.inv, Flip()], 4).registered)) is coupling
