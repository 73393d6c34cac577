"""Flows over vectors of real numbers, and models whose only site is observed."""

import math
from dataclasses import replace

import pyro.distributions as dist
import pytest
import torch
from conftest import randomise
from pyro.infer import Predictive, Trace_ELBO
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from inference import Settings, fit, iwae_bound, load_dataset, log_weights, negative_bounds, standardise
from pyro_models import (
    ActNorm,
    DensityModel,
    Flow,
    FlowGuide,
    FlowPrior,
    MLPEncoder,
    NoLatents,
    ZukoFlow,
    ZukoPrior,
    flip_realnvp,
    masked_realnvp,
    vector_realnvp,
)

pytestmark = pytest.mark.usefixtures("float64")

CLASSES = 3
REAL = {
    "realnvp": lambda size, **options: vector_realnvp(size, 4, [16], **options),
    "realnvp, no bound": lambda size, **options: vector_realnvp(size, 3, [16], "Tanh", bound=None, **options),
    "NSF": lambda size, **options: ZukoFlow(size, "NSF", 2, [16], **options),
    "MAF": lambda size, **options: ZukoFlow(size, "MAF", 2, [16], **options),
}
SQUASHED = {  # onto the unit cube
    "flip": lambda size, **options: flip_realnvp((size,), 3, [16], alpha=0.0, **options),
    "masked": lambda size, **options: masked_realnvp((size,), 4, [16], alpha=0.0, **options),
}
FLOWS = REAL | SQUASHED
CASES = [*((name, size) for name in FLOWS for size in (2, 4)), *((name, 3) for name in REAL), ("NSF", 1), ("MAF", 1)]


def made(name: str, size: int, context: int = 0) -> nn.Module:
    return randomise(FLOWS[name](size, context=context), 0.2).eval()


def contexts(context: int) -> tuple[Tensor, ...]:
    return (torch.eye(CLASSES)[torch.arange(5) % CLASSES],) if context else ()


@pytest.mark.parametrize("context", [0, CLASSES], ids=["", "conditional"])
@pytest.mark.parametrize(("name", "size"), CASES)
def test_a_flow_is_a_bijection_with_the_density_of_its_map(name, size, context):
    flow, given = made(name, size, context), contexts(context)
    p, epsilon = flow(*given), torch.randn(5, size)
    x = p.from_base(epsilon)
    torch.testing.assert_close(p.to_base(x)[0], epsilon, rtol=0, atol=1e-7)
    torch.testing.assert_close(p.from_base(p.to_base(x)[0]), x, rtol=0, atol=1e-7)
    maps = jacobian(lambda e: flow(*given).from_base(e).sum(0), epsilon).movedim(1, 0)  # one (D, D) for each row
    expected = dist.Normal(0, 1).log_prob(epsilon).sum(-1) - maps.slogdet().logabsdet
    torch.testing.assert_close(flow(*given).log_prob(x), expected, rtol=0, atol=1e-7)
    drawn = p.rsample()
    torch.testing.assert_close(p.log_prob(drawn), p.log_prob(drawn.clone()), rtol=0, atol=1e-7)
    assert flow(*given, temperature=0.5).base_dist.stddev.unique() == 0.5


@pytest.mark.parametrize("context", [0, CLASSES], ids=["", "conditional"])
@pytest.mark.parametrize("name", ["NSF", "MAF"])
def test_zukos_flows_keep_zukos_densities(name, context):
    flow, given, x = made(name, 3, context), contexts(context), torch.randn(5, 3)
    torch.testing.assert_close(flow(*given).log_prob(x), flow.flow(*given).log_prob(x))


def integral(flow: nn.Module, squashed: bool, *given: Tensor, steps: int = 301) -> Tensor:
    """Of a two-dimensional density, over a grid of the plane or, by logits, of the unit square."""
    axis = torch.linspace(-30, 30, steps) if squashed else torch.linspace(-12, 12, steps)
    grid, area = torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2
    x = grid.sigmoid() if squashed else grid
    stretch = (x * (-grid).sigmoid()).prod(-1) if squashed else torch.ones(len(grid))
    with torch.no_grad():
        return (flow(*(context.expand(len(x), -1) for context in given)).log_prob(x).exp() * stretch).sum() * area


@pytest.mark.parametrize("kind", ["NSF", "MAF"])
def test_a_flow_over_single_numbers_starts_near_the_standard_normal(kind):
    x = torch.randn(1000, 1)
    for seed in range(5):
        torch.manual_seed(seed)
        excess = dist.Normal(0.0, 1.0).log_prob(x[:, 0]) - ZukoFlow(1, kind)().log_prob(x)
        assert float(excess.detach().mean()) < 0.2  # with zuko's own numbers it is from 1 to 12


@pytest.mark.parametrize("name", FLOWS)
def test_a_density_integrates_to_one(name):
    assert float(integral(made(name, 2), name in SQUASHED)) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", REAL)
def test_the_density_of_every_class_integrates_to_one(name):
    flow = made(name, 2, CLASSES)
    for label in torch.eye(CLASSES):
        assert float(integral(flow, False, label)) == pytest.approx(1, abs=0.01)
    densities = flow(torch.eye(CLASSES)).log_prob(torch.zeros(2))
    assert len(densities.unique()) == CLASSES


def trained(flow: Flow, draw, steps: int, lr: float = 1e-2) -> Flow:
    """The flow, fitted by maximum likelihood to ``draw(count)`` with plain torch."""
    optimizer = torch.optim.Adam(flow.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (-flow().log_prob(draw(256)).mean()).backward()
        optimizer.step()
        schedule.step()
    return flow.eval()


def two_moons(count: int) -> Tensor:
    angle, upper = math.pi * torch.rand(count), torch.rand(count) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos()), torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack(x, -1) + 0.1 * torch.randn(count, 2)


def test_the_density_of_two_moons_integrates_to_one():
    flow = trained(vector_realnvp(2, 6, [32]), two_moons, 300)
    assert float(integral(flow, False, steps=501)) == pytest.approx(1, abs=0.01)
    x = two_moons(5000)
    with torch.no_grad():
        assert -flow().log_prob(x).mean() < 1.6  # a Gaussian with their mean and covariance has 1.9 nats
        assert (flow().sample([5000]).mean(0) - x.mean(0)).abs().max() < 0.1


@pytest.mark.parametrize(("name", "worst"), [("realnvp", 1.7), ("NSF", 1.4)])
def test_a_density_of_two_moons_fitted_to_standardised_data_is_one_of_the_data_as_they_came(name, worst):
    train, test = standardise(*(moons.take(slice(4000)) for moons in load_dataset("moons")))
    train, test = (replace(moons, values=moons.values.double()) for moons in (train, test))
    model, guide = DensityModel(FLOWS[name](2)), NoLatents()
    rows = fit(model, guide, train, test, Settings(epochs=6, lr=0.02, device="cpu", compile="off"), show=None)
    side = torch.linspace(-4, 5, 401)
    grid = replace(test, values=torch.cartesian_prod(side, side), labels=None)
    with torch.no_grad():
        density = (model.density().log_prob(grid.observe()) + grid.log_det).exp()
    assert float(density.sum() * (side[1] - side[0]) ** 2) == pytest.approx(1, abs=0.01)
    bounds = negative_bounds(model, guide, test, ms=[1, 5], repeats=1)
    assert bounds[1].value == pytest.approx(rows[-1]["test_negative_elbo"], abs=1e-5)
    assert bounds[1].value < worst  # a Gaussian with their mean and covariance has 1.9 nats


def test_a_gaussian_is_fitted_down_to_its_entropy():
    """Data with any location, scale and correlation, none of them standardised."""
    lower = torch.tensor([[2.0, 0.0, 0.0], [-1.5, 0.5, 0.0], [30.0, -10.0, 20.0]])
    exact = dist.MultivariateNormal(torch.tensor([5.0, 0.0, -100.0]), scale_tril=lower)
    flow = trained(vector_realnvp(3, 4, [16]), lambda count: exact.sample([count]), 500)
    x = exact.sample([20_000])
    with torch.no_grad():
        divergence = (exact.log_prob(x) - flow().log_prob(x)).mean()  # of -log p from the entropy
    assert abs(float(divergence)) < 0.02


@pytest.mark.parametrize("shape", [(500, 3), (5, 100, 3)])
def test_actnorm_standardises_vectors(shape):
    norm, y = ActNorm(3, event_dim=1), torch.randn(shape) * torch.tensor([0.01, 1.0, 50.0]) + torch.tensor([0, -4, 9.0])
    assert not norm.initialised
    x, log_det = norm.train().inverse_and_log_det(y)
    torch.testing.assert_close(x.reshape(-1, 3).mean(0), torch.zeros(3), rtol=0, atol=1e-8)
    torch.testing.assert_close(x.reshape(-1, 3).var(0, correction=0), torch.ones(3))
    torch.testing.assert_close(log_det, -y.reshape(-1, 3).var(0, correction=0).log().sum().expand(shape[:-1]) / 2)
    back, opposite = norm.forward_and_log_det(x)
    torch.testing.assert_close((back, opposite), (y, -log_det))
    assert norm.shift.shape == norm.log_scale.shape == (3,)
    norm.inverse_and_log_det(7 * y)  # only the first batch counts
    torch.testing.assert_close(norm.shift.detach(), y.reshape(-1, 3).mean(0))
    for use in (norm, ActNorm(3, event_dim=1).train().inverse_and_log_det):
        with pytest.raises(ValueError, match="3 channels; got 4"):
            use(torch.zeros(2, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.0, 0.1, -1e6])
@pytest.mark.parametrize("count", [1, 7])
def test_a_coordinate_that_does_not_vary_keeps_its_scale(dtype, level, count):
    norm, y = ActNorm(1, event_dim=1).to(dtype).train(), torch.full((count, 1), level, dtype=dtype)
    x, log_det = norm.inverse_and_log_det(y)
    torch.testing.assert_close((x, log_det), (torch.zeros_like(y), torch.zeros(count, dtype=dtype)), rtol=0, atol=1e-1)
    assert float(norm.log_scale.detach()) == 0


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("classes", [0, CLASSES])
def test_without_latents_every_bound_is_the_density(name, classes):
    model, guide = DensityModel(made(name, 2, classes), classes), NoLatents()
    labels = (torch.arange(6) % CLASSES,) if classes else ()
    x = torch.rand(6, 2)
    exact = model.density(*labels).log_prob(x).detach()
    log_w = log_weights(model, guide, x, 4, labels=labels[0] if labels else None)
    torch.testing.assert_close(log_w, exact.expand(4, 6))
    for m in (1, 2, 4):
        torch.testing.assert_close(iwae_bound(log_w, m), exact)
    for elbo in (Trace_ELBO(), Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1)):
        assert float(elbo.loss(model, guide, x, *labels)) == pytest.approx(-float(exact.sum()))


def test_draws_of_a_density_model_follow_its_labels_and_its_density():
    flow, count = made("realnvp", 2, CLASSES), 5000
    model = DensityModel(flow, CLASSES)
    drawn = Predictive(model, num_samples=2)(None, torch.arange(CLASSES).repeat(count // 2))["x"]
    assert drawn.shape == (2, CLASSES * count // 2, 2)
    axis = torch.linspace(-12, 12, 301)
    grid = torch.cartesian_prod(axis, axis)
    for label, one_hot in enumerate(torch.eye(CLASSES)):
        with torch.no_grad():
            density = flow(one_hot.expand(len(grid), -1)).log_prob(grid).exp() * (axis[1] - axis[0]) ** 2
        for edge in (axis[[145, 150, 158]] + (axis[1] - axis[0]) / 2).tolist():
            for i in range(2):
                expected = float(density[grid[:, i] < edge].sum())
                found = float((drawn[:, label::CLASSES, i] < edge).double().mean())
                assert found == pytest.approx(expected, abs=0.035)


MISTAKES = {
    "one coordinate": (lambda: vector_realnvp(1), r"at least 2 coordinates; got 1.*ZukoFlow\(1\)"),
    "no couplings": (lambda: vector_realnvp(2, 0), "couplings must be at least 1; got 0"),
    "no coordinates": (lambda: ZukoFlow(0), "at least 1; got 0"),
    "an unknown kind": (lambda: ZukoPrior(2, "Nonsense"), "Argument kind.*'NSF'.*'Nonsense'"),
    "a context that is missing": (lambda: ZukoFlow(2, context=3)(), "takes a context of size 3; got one of size 0"),
    "a context too many": (lambda: ZukoFlow(2)(torch.zeros(1, 3)), "takes a context of size 0; got one of size 3"),
    "another size": (lambda: DensityModel(vector_realnvp(2))(torch.zeros(5, 3)), r"shape \(2,\); got x of .*\(5, 3\)"),
    "one row without its dimension": (lambda: DensityModel(vector_realnvp(2))(torch.zeros(2)), "got x of shape"),
    "labels missing": (lambda: DensityModel(vector_realnvp(2, context=3), 3)(torch.zeros(5, 2)), "takes labels"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake):
    make, message = MISTAKES[mistake]
    with pytest.raises((ValueError, TypeError), match=message) as error:
        make()
    assert "\n" not in str(error.value)


def coupling(prefix: str, size: int, extra: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}.conditioner.trunk.0.weight": (hidden, size + extra),
        f"{prefix}.conditioner.trunk.0.bias": (hidden,),
        f"{prefix}.conditioner.out.weight": (2 * size, hidden),
        f"{prefix}.conditioner.out.bias": (2 * size,),
    }


def autoregressive(prefix: str, size: int, hidden: int, out: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}.order": (size,),
        **{f"{prefix}.hyper.0.{part}": (hidden, size) for part in ("weight", "mask")},
        f"{prefix}.hyper.0.bias": (hidden,),
        **{f"{prefix}.hyper.2.{part}": (out, hidden) for part in ("weight", "mask")},
        f"{prefix}.hyper.2.bias": (out,),
    }


ENCODER = {"encoder.net.0.out.weight": (3, 4), "encoder.net.0.out.bias": (3,), "head.weight": (4, 3), "head.bias": (4,)}
ZUKO_BASE = {"flow.base.loc": (2,), "flow.base.scale": (2,)}
SAVED = {  # what checkpoints hold
    "ActNorm": (lambda: ActNorm(3), {"log_scale": (3, 1, 1), "shift": (3, 1, 1), "initialised": ()}),
    "FlowPrior": (
        lambda: FlowPrior(4, 2, [5], context=3),
        coupling("registered.0", 4, 3, 5) | coupling("registered.1", 4, 3, 5),
    ),
    "ZukoPrior, NSF": (
        lambda: ZukoPrior(2, "NSF", 1, [5]),
        autoregressive("flow.transform.transforms.0", 2, 5, 46) | ZUKO_BASE,
    ),
    "ZukoPrior, MAF": (
        lambda: ZukoPrior(2, "MAF", 1, [5]),
        autoregressive("flow.transform.transforms.0", 2, 5, 4) | ZUKO_BASE,
    ),
    "FlowGuide": (
        lambda: FlowGuide(MLPEncoder((1, 2, 2), [3]), 2, 2, [4]),
        ENCODER | coupling("couplings.0", 2, 3, 4) | coupling("couplings.1", 2, 3, 4),
    ),
}


@pytest.mark.parametrize("name", SAVED)
def test_checkpoints_keep_their_names_and_shapes(name):
    make, expected = SAVED[name]
    assert {key: tuple(value.shape) for key, value in make().state_dict().items()} == expected
