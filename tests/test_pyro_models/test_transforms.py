"""Laws that every transform obeys, with random weights and in double precision."""

import math

import pytest
import torch
from conftest import randomise
from torch.autograd.functional import jacobian
from torch.distributions import constraints
from torch.distributions.utils import _sum_rightmost as sum_rightmost

from pyro_models import (
    MLP,
    ActNorm,
    AffineCoupling,
    ChannelPart,
    Flip,
    LogisticMixtureCoupling,
    MaskedCoupling,
    Parallel,
    ResNet,
    ScaleAndShift,
    Squash,
    Squeeze,
    alternating,
    checkerboard,
)
from pyro_models.networks import ScaleShiftAndMixture
from pyro_models.transforms.bijector import condition, inverse_and_log_det

pytestmark = pytest.mark.usefixtures("float64")

SIZE = 6
IMAGE = (2, 4, 2)


def coupling(bound: float | None = 2.0, **options) -> AffineCoupling:
    return AffineCoupling(MLP(SIZE // 2, (SIZE // 2, SIZE // 2), [8], zero_init=True), bound, **options)


def resnet(channels: int) -> ScaleAndShift:
    return ScaleAndShift(ResNet(channels, 2 * channels, channels=3, blocks=1))


class Divided(MaskedCoupling):
    """Computes a part of its network even for short vectors."""

    shortest_divided = 2


# named constructors and the shape of an event; every law below runs over all of them
TRANSFORMS = {
    "coupling": (lambda: coupling(), (SIZE,)),
    "coupling, no bound": (lambda: coupling(None), (SIZE,)),
    "coupling, swapped": (lambda: coupling(swap=True), (SIZE,)),
    "coupling, separate networks": (lambda: AffineCoupling(Parallel(MLP(3, 3, [8]), MLP(3, 3, [5]))), (SIZE,)),
    "coupling, channel-wise": (lambda: AffineCoupling(resnet(1), None, dim=-3), IMAGE),
    "coupling, checkerboard": (lambda: MaskedCoupling(checkerboard(IMAGE), resnet(2), None), IMAGE),
    "coupling, odd checkerboard": (lambda: MaskedCoupling(checkerboard(IMAGE, odd=True), resnet(2)), IMAGE),
    "coupling, any mask": (
        lambda: MaskedCoupling(torch.tensor([1, 0, 0, 1, 0, 0]), MLP(SIZE, (SIZE, SIZE), [8])),
        (SIZE,),
    ),
    "coupling, even places, divided": (lambda: Divided(alternating(SIZE), MLP(SIZE, (SIZE, SIZE), [8])), (SIZE,)),
    "coupling, any mask, divided": (
        lambda: Divided(torch.tensor([1, 0, 0, 1, 0, 0]), MLP(SIZE, (SIZE, SIZE), [8]), None),
        (SIZE,),
    ),
    "mixture coupling": (lambda: LogisticMixtureCoupling(MLP(3, (3, 3, 6, 6, 6), [8]), 2), (SIZE,)),
    "mixture coupling, swapped": (
        lambda: LogisticMixtureCoupling(MLP(3, (3, 3, 6, 6, 6), [8]), 2, swap=True),
        (SIZE,),
    ),
    "mixture coupling, channel-wise": (
        lambda: LogisticMixtureCoupling(ScaleShiftAndMixture(ResNet(1, 11, 8, 1), 3), 3, None, dim=-3),
        IMAGE,
    ),
    "mixture coupling, checkerboard": (
        lambda: LogisticMixtureCoupling(
            ScaleShiftAndMixture(ResNet(2, 22, 8, 1), 3), 3, None, mask=checkerboard(IMAGE)
        ),
        IMAGE,
    ),
    "mixture coupling, any mask": (
        lambda: LogisticMixtureCoupling(
            MLP(SIZE, (SIZE, SIZE, *[2 * SIZE] * 3), [8]), 2, mask=torch.tensor([1, 0, 0, 1, 0, 0])
        ),
        (SIZE,),
    ),
    "part of the channels": (lambda: ChannelPart([Squeeze(), ActNorm(4), Squeeze().inv], channels=1), IMAGE),
    "actnorm": (lambda: ActNorm(2), IMAGE),
    "actnorm, vectors": (lambda: ActNorm(SIZE, event_dim=1), (SIZE,)),
    "flip": (Flip, (SIZE,)),
    "squeeze": (Squeeze, IMAGE),
    "squash": (lambda: Squash(0.05), (SIZE,)),
    "squash, thin margin": (lambda: Squash(1e-6), (SIZE,)),
}


@pytest.fixture(params=TRANSFORMS)
def case(request):
    make, shape = TRANSFORMS[request.param]
    return randomise(make(), 0.5).eval(), shape


def test_inverse_both_ways(case):
    transform, shape = case
    x = torch.randn(7, *shape)
    y = transform(x)
    torch.testing.assert_close(transform.inv(y), x, rtol=0, atol=1e-8)
    torch.testing.assert_close(transform(transform.inv(y)), y, rtol=0, atol=1e-8)


def test_log_det_is_autograds(case):
    transform, shape = case
    x = torch.randn(shape)
    matrix = jacobian(transform, x).reshape(math.prod(shape), math.prod(shape))
    got = sum_rightmost(transform.log_abs_det_jacobian(x, transform(x)), len(shape) - transform.domain.event_dim)
    torch.testing.assert_close(got, torch.linalg.slogdet(matrix).logabsdet, rtol=0, atol=1e-9)


def test_one_pass_pairs_agree_with_the_separate_calls(case):
    transform, shape = case
    x = torch.randn(3, *shape)
    y, forward = transform.forward_and_log_det(x)
    back, inverse = transform.inverse_and_log_det(y)
    torch.testing.assert_close(y, transform(x))
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(forward, transform.log_abs_det_jacobian(x, y))
    torch.testing.assert_close(inverse, -forward, rtol=0, atol=1e-7)
    torch.testing.assert_close(inverse_and_log_det(transform, y)[1], inverse)


def test_leading_dimensions(case):
    transform, shape = case
    x = torch.randn(2, 3, *shape)
    y = transform(x)
    log_det = transform.log_abs_det_jacobian(x, y)
    assert y.shape == transform.forward_shape(x.shape)
    assert x.shape == transform.inverse_shape(y.shape)
    assert log_det.shape == x.shape[: x.dim() - transform.domain.event_dim]
    torch.testing.assert_close(y[1, 2], transform(x[1, 2]))
    torch.testing.assert_close(log_det[1, 2], transform.log_abs_det_jacobian(x[1, 2], y[1, 2]))


def test_every_parameter_gets_a_gradient(case):
    transform, shape = case
    y, log_det = transform.forward_and_log_det(torch.randn(9, *shape).requires_grad_())
    (y.pow(3).sum() + log_det.square().sum()).backward()
    for name, parameter in transform.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_survive_saving(case):
    transform, shape = case
    x = torch.randn(4, *shape)
    expected = transform(x)
    state = {name: value.clone() for name, value in transform.state_dict().items()}
    randomise(transform)
    transform.load_state_dict(state)
    assert torch.equal(transform(x), expected)


def test_precision_follows_the_module(case):
    transform, shape = case
    y, log_det = transform.to(torch.float32).forward_and_log_det(torch.randn(4, *shape, dtype=torch.float32))
    assert y.dtype == log_det.dtype == torch.float32


def test_vmap_equals_the_batch(case):
    transform, shape = case
    x = torch.randn(5, *shape)
    torch.testing.assert_close(torch.func.vmap(transform)(x), transform(x))


def test_domain_and_codomain_hold_their_values(case):
    transform, shape = case
    x = torch.randn(50, *shape)
    assert transform.domain.check(x).all()
    assert transform.codomain.check(transform(x)).all()


def test_coupling_determinant_is_the_exponential_of_the_sum_of_s():
    layer = randomise(coupling())
    x = torch.randn(SIZE)
    s, _ = layer.log_scale_and_shift(x[: SIZE // 2])
    torch.testing.assert_close(torch.linalg.det(jacobian(layer, x)), s.sum().exp())


def test_coupling_leaves_the_first_half_and_scales_the_second():
    layer = randomise(coupling())
    x = torch.randn(4, SIZE)
    s, t = layer.log_scale_and_shift(x[:, :3])
    y = layer(x)
    torch.testing.assert_close(y[:, :3], x[:, :3], rtol=0, atol=0)
    torch.testing.assert_close(y[:, 3:], s.exp() * x[:, 3:] + t)


def test_coupling_log_scale_stays_within_its_bound():
    layer = randomise(coupling(bound=1.5), 100.0)
    s, _ = layer.log_scale_and_shift(1000 * torch.randn(20, SIZE)[:, :3])
    assert s.abs().max() <= 1.5
    assert s.abs().max() > 1.4  # the weights are large enough to meet it


def test_flip_reverses():
    assert Flip()(torch.arange(4.0)).tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("y", [0.0, 1.0])
def test_squash_keeps_black_and_white_finite(y):
    x, log_det = Squash(1e-6).inverse_and_log_det(torch.tensor([y], dtype=torch.float32))
    assert torch.isfinite(x).all()
    assert torch.isfinite(log_det).all()


def test_squash_is_precise_near_white_in_single_precision():
    y = torch.tensor([1 - 1e-5], dtype=torch.float64)
    exact, _ = Squash(1e-6).inverse_and_log_det(y)
    single, _ = Squash(1e-6).inverse_and_log_det(y.float())
    torch.testing.assert_close(single.double(), exact, rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: coupling()(torch.zeros(5)), "two equal halves"),
        (lambda: AffineCoupling(MLP(3, (3, 3)), bound=0.0), "bound must be positive"),
        (lambda: coupling(dim=1), "dim counts from the right"),
        (lambda: MaskedCoupling(torch.ones(4), MLP(4, (4, 4))), "some of each"),
        (lambda: MaskedCoupling(torch.tensor([0.0, 0.5]), MLP(2, (2, 2))), "zeros and ones"),
        (lambda: MaskedCoupling(torch.tensor([0, 1]), MLP(2, (2, 2)))(torch.zeros(3)), "the mask is \\(2,\\)"),
        (lambda: MaskedCoupling(torch.tensor([0, 1]), MLP(2, (2, 2)), bound=-1), "bound"),
        (lambda: Squeeze()(torch.zeros(1, 3, 4)), "even sides"),
        (lambda: Squeeze().inv(torch.zeros(2, 3, 4)), "multiple of four"),
        (lambda: AffineCoupling(MLP(2, (1, 1)))(torch.zeros(3, 4)), "the conditioner must return"),
        (lambda: AffineCoupling(MLP(2, 2))(torch.zeros(2, 4)), "the conditioner must return"),
        (lambda: MaskedCoupling(torch.tensor([0, 1]), MLP(2, (1, 1)))(torch.zeros(2)), "the conditioner must return"),
        (lambda: ActNorm(3)(torch.zeros(1, 2, 2)), "3 channels; got 1"),
        (lambda: ActNorm(0), "channels"),
        (lambda: ChannelPart([], 0), "channels"),
        (lambda: ChannelPart([], 2)(torch.zeros(2, 2, 2)), "must leave some of 2"),
        (lambda: ResNet(1, 2, channels=0), "channels and blocks"),
        (lambda: Squash(0.5), "alpha"),
        (lambda: Squash(-0.1), "alpha"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_squash_covers_a_little_more_than_the_unit_interval():
    codomain = Squash(0.05).codomain
    assert isinstance(codomain, constraints.interval)
    assert codomain.lower_bound < 0
    assert codomain.upper_bound > 1


def test_checkerboard_alternates_and_its_opposite_is_the_rest():
    even, odd = checkerboard((1, 2, 4)), checkerboard((1, 2, 4), odd=True)
    assert even.tolist() == [[[1, 0, 1, 0], [0, 1, 0, 1]]]
    assert torch.equal(even + odd, torch.ones(1, 2, 4))


def test_masked_pixels_pass_unchanged():
    layer = randomise(MaskedCoupling(checkerboard(IMAGE), resnet(2), None), 0.5)
    x = torch.randn(3, *IMAGE)
    moved = (layer(x) != x).all(0)
    assert torch.equal(moved, checkerboard(IMAGE, odd=True).bool())


def test_masked_coupling_on_halves_equals_the_split_one():
    """The same weights, reached through a mask of half the entries and through a split."""
    split = randomise(AffineCoupling(MLP(3, (3, 3), [8]), None))

    def through_the_mask(x):
        s, t = split.conditioner(x[..., :3])
        return torch.cat([0 * s, s], -1), torch.cat([0 * t, t], -1)

    class Conditioner(torch.nn.Module):
        def forward(self, x):
            return through_the_mask(x)

    masked = MaskedCoupling(torch.tensor([1, 1, 1, 0, 0, 0]), Conditioner(), None)
    x = torch.randn(5, SIZE)
    for a, b in zip(split.forward_and_log_det(x), masked.forward_and_log_det(x), strict=True):
        torch.testing.assert_close(a, b)


def test_squeeze_gathers_blocks_of_four():
    x = torch.arange(16.0).view(1, 4, 4)
    assert Squeeze()(x)[:, 0, 0].tolist() == [0, 1, 4, 5]
    assert Squeeze()(x)[:, 1, 0].tolist() == [8, 9, 12, 13]


def test_actnorm_normalises_the_first_training_batch_and_only_that():
    layer = ActNorm(2)
    y = 3 + 2 * torch.randn(50, 2, 5, 4)
    layer.eval()
    assert torch.equal(layer.inv(y), y)  # nothing happens outside training
    layer.train()
    x = layer.inv(y)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-9)
    torch.testing.assert_close(x.var((0, 2, 3), unbiased=False), torch.ones(2))
    before = layer.shift.clone()
    layer.inv(y + 100)
    assert torch.equal(layer.shift, before)
    other = ActNorm(2)
    other.load_state_dict(layer.state_dict())
    other.train().inv(y + 100)
    assert torch.equal(other.shift, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_actnorm_waits_for_a_batch_of_finite_numbers(bad):
    layer = ActNorm(2).train()
    y = 3 + 2 * torch.randn(50, 2, 5, 4)
    layer.inv(y.masked_fill(y == y[7, 1, 2, 3], bad))
    assert not layer.initialised
    torch.testing.assert_close(layer.inv(y).mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-9)


def test_actnorm_gradients_flow_from_the_first_batch_on():
    layer = ActNorm(2).train()
    layer.inverse_and_log_det(torch.randn(5, 2, 2, 2))[0].pow(3).sum().backward()
    assert layer.log_scale.grad.abs().sum() > 0


def test_a_coupling_with_scale_and_shift_starts_without_scaling():
    s, _ = resnet(1)(torch.randn(4, 1, 2, 2))
    assert torch.equal(s, torch.zeros_like(s))


def test_a_transform_is_conditioned_under_the_old_name_too():
    class Older(Flip):
        def given(self, context):
            return Squash()

    class Doubles(AffineCoupling):
        def given(self, context):
            return super().given(2 * context)

    assert isinstance(condition(Older(), torch.zeros(1)), Squash)
    with pytest.warns(DeprecationWarning, match="use condition"):
        assert condition(Doubles(torch.nn.Identity()), torch.ones(1)).context == 2
    flip = Flip()
    with pytest.warns(DeprecationWarning, match="use condition"):
        assert flip.given(torch.zeros(1)) is flip
