"""Laws that every transform obeys, with random weights and in double precision."""

import pytest
import torch
from conftest import randomise
from torch.autograd.functional import jacobian
from torch.distributions import constraints
from torch.distributions.utils import _sum_rightmost as sum_rightmost

from pyro_models import MLP, AffineCoupling, Flip, Parallel, Squash
from pyro_models.transforms.bijector import inverse_and_log_det

pytestmark = pytest.mark.usefixtures("float64")

SIZE = 6


def coupling(bound: float | None = 2.0) -> AffineCoupling:
    return AffineCoupling(MLP(SIZE // 2, (SIZE // 2, SIZE // 2), [8], zero_init=True), bound)


TRANSFORMS = {
    "coupling": lambda: coupling(),
    "coupling, no bound": lambda: coupling(None),
    "coupling, separate networks": lambda: AffineCoupling(Parallel(MLP(3, 3, [8]), MLP(3, 3, [5]))),
    "flip": Flip,
    "squash": lambda: Squash(0.05),
    "squash, thin margin": lambda: Squash(1e-6),
}


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return randomise(TRANSFORMS[request.param](), 0.5)


def draw_x(*batch: int) -> torch.Tensor:
    return torch.randn(*batch, SIZE)


def test_inverse_both_ways(transform):
    x = draw_x(7)
    y = transform(x)
    torch.testing.assert_close(transform.inv(y), x, rtol=0, atol=1e-8)
    torch.testing.assert_close(transform(transform.inv(y)), y, rtol=0, atol=1e-8)


def test_log_det_is_autograds(transform):
    x = draw_x()
    expected = torch.linalg.slogdet(jacobian(transform, x)).logabsdet
    got = sum_rightmost(transform.log_abs_det_jacobian(x, transform(x)), 1 - transform.domain.event_dim)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


def test_one_pass_pairs_agree_with_the_separate_calls(transform):
    x = draw_x(3)
    y, forward = transform.forward_and_log_det(x)
    back, inverse = transform.inverse_and_log_det(y)
    torch.testing.assert_close(y, transform(x))
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(forward, transform.log_abs_det_jacobian(x, y))
    torch.testing.assert_close(inverse, -forward, rtol=0, atol=1e-7)
    torch.testing.assert_close(inverse_and_log_det(transform, y)[1], inverse)


def test_leading_dimensions(transform):
    x = draw_x(2, 3)
    y = transform(x)
    log_det = transform.log_abs_det_jacobian(x, y)
    assert y.shape == x.shape
    assert log_det.shape == x.shape[: x.dim() - transform.domain.event_dim]
    torch.testing.assert_close(y[1, 2], transform(x[1, 2]))
    torch.testing.assert_close(log_det[1, 2], transform.log_abs_det_jacobian(x[1, 2], y[1, 2]))


def test_every_parameter_gets_a_gradient(transform):
    x = draw_x(5)
    y, log_det = transform.forward_and_log_det(x)
    (y.square().sum() + log_det.square().sum()).backward() if list(transform.parameters()) else None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in transform.parameters())


def test_domain_and_codomain_hold_their_values(transform):
    x = draw_x(50)
    assert transform.domain.check(x).all()
    assert transform.codomain.check(transform(x)).all()


def test_coupling_determinant_is_the_exponential_of_the_sum_of_s():
    layer = randomise(coupling())
    x = draw_x()
    s, _ = layer.log_scale_and_shift(x[: SIZE // 2])
    torch.testing.assert_close(torch.linalg.det(jacobian(layer, x)), s.sum().exp())


def test_coupling_leaves_the_first_half_and_scales_the_second():
    layer = randomise(coupling())
    x = draw_x(4)
    s, t = layer.log_scale_and_shift(x[:, :3])
    y = layer(x)
    torch.testing.assert_close(y[:, :3], x[:, :3], rtol=0, atol=0)
    torch.testing.assert_close(y[:, 3:], s.exp() * x[:, 3:] + t)


def test_coupling_log_scale_stays_within_its_bound():
    layer = randomise(coupling(bound=1.5), 100.0)
    s, _ = layer.log_scale_and_shift(1000 * draw_x(20)[:, :3])
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
