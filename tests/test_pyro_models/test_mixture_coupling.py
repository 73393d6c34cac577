"""Laws of the mixture of logistics as a map, of its coupling, and of the flows that use it."""

import math

import pyro.distributions as dist
import pytest
import torch
from conftest import randomise
from torch.autograd.functional import jacobian
from torch.distributions import TransformedDistribution, Uniform
from torch.distributions.transforms import AffineTransform, SigmoidTransform

from inference import CompiledELBO, ELBOWithTerms, Trace_ELBO, set_seed
from pyro_models import (
    MLP,
    AffineCoupling,
    DensityModel,
    FlowGuide,
    FlowPrior,
    LogisticMixtureCoupling,
    MLPEncoder,
    NoLatents,
    ResNet,
    alternating,
    checkerboard,
    flip_realnvp,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
    vector_realnvp,
)
from pyro_models.networks import ScaleShiftAndMixture
from pyro_models.transforms.logistic_mixture import LogisticMixture

pytestmark = pytest.mark.usefixtures("float64")

K = 4
FLOWS = {
    "flip": lambda **options: flip_realnvp((1, 2, 4), 2, [8], **options),
    "flip, separate networks": lambda **options: flip_realnvp((1, 2, 4), 2, [8], separate=True, **options),
    "masked": lambda **options: masked_realnvp((1, 2, 4), 2, [8], **options),
    "image": lambda **options: image_realnvp((1, 4, 4), 3, 1, 1, 1, 1, **options),
    "image, two channels": lambda **options: image_realnvp((2, 2, 2), 3, 1, 1, 2, 1, **options),
    "multi-scale": lambda **options: multiscale_realnvp((1, 4, 4), 2, 2, 1, 1, 1, **options),
    "vector": lambda **options: vector_realnvp(5, 2, [8], **options),
    "prior": lambda **options: FlowPrior(3, 2, [8], **options),
}


def mixture(*shape: int, spread: float = 1.0, dtype: torch.dtype = torch.float64) -> LogisticMixture:
    """One with K components for each place."""
    logits, loc, log_scale = (spread * torch.randn(*shape[:-1], K, shape[-1], dtype=dtype) for _ in range(3))
    return LogisticMixture(logits.log_softmax(-2), 3 * loc, log_scale)


def coupling(size: int = 3, zero_init: bool = False, **options) -> LogisticMixtureCoupling:
    network = MLP(size, (size, size, *[K * size] * 3), [8], zero_init=zero_init)
    return LogisticMixtureCoupling(network, K, **options)


def convolutional() -> LogisticMixtureCoupling:
    network = ScaleShiftAndMixture(ResNet(2, 2 * (2 + 3 * K), 3, 1, zero_init=True), K)
    return LogisticMixtureCoupling(network, K, None, mask=checkerboard((2, 2, 2)))


def test_the_map_is_the_distribution_function_in_log_odds():
    g, x = mixture(6), 2 * torch.randn(200, 6)
    parts = TransformedDistribution(
        Uniform(torch.zeros(K, 6), torch.ones(K, 6)),
        [SigmoidTransform().inv, AffineTransform(g.loc, g.log_scale.exp())],
    )
    cdf = (g.log_weight.exp() * parts.cdf(x[:, None])).sum(1)
    density = (g.log_weight.exp() * parts.log_prob(x[:, None]).exp()).sum(1)
    found, log_slope = g.log_odds(x)
    torch.testing.assert_close(found, cdf.logit())
    torch.testing.assert_close(log_slope.exp(), density / (cdf * (1 - cdf)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_finite_and_strictly_monotone_far_out(dtype):
    g = mixture(6, spread=1.5, dtype=dtype)
    x = torch.linspace(-50, 50, 2001, dtype=dtype)[:, None].expand(-1, 6).clone().requires_grad_()
    odds, log_slope = g.log_odds(x)
    assert odds.dtype == log_slope.dtype == dtype
    assert odds.isfinite().all()
    assert log_slope.isfinite().all()
    assert (odds.diff(dim=0) > 0).all()
    (slope,) = torch.autograd.grad(odds.sum(), x)
    assert (slope > 0).all()
    torch.testing.assert_close(slope.log(), log_slope, rtol=1e-3, atol=1e-3 if dtype == torch.float32 else 1e-8)
    back = g.quantile(torch.linspace(-50, 50, 2001, dtype=dtype)[:, None].expand(-1, 6))
    assert back.isfinite().all()
    assert (back.diff(dim=0) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_farther_out_its_slope_is_that_of_the_widest_component(dtype):
    g = mixture(6, dtype=dtype)
    x = torch.tensor([-1e10, -1e6, -1e4, 1e4, 1e6, 1e10], dtype=dtype)[:, None].expand(-1, 6).clone().requires_grad_()
    parameters = [part.clone().requires_grad_() for part in g]
    _, log_slope = LogisticMixture(parameters[0].log_softmax(0), *parameters[1:]).log_odds(x)
    torch.testing.assert_close(log_slope, -g.log_scale.amax(0).expand_as(x))
    at_x, *others, at_scale = torch.autograd.grad(log_slope.sum(), [x, *parameters])
    widest = g.log_scale == g.log_scale.amax(0)
    torch.testing.assert_close(at_scale, -len(x) * widest.to(dtype), rtol=1e-3, atol=1e-3)
    assert all((gradient.abs() < 1e-3).all() for gradient in (at_x, *others))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 1e-8)])
def test_the_inverse_is_found_to_rounding(dtype, error):
    g = mixture(500, spread=1.5, dtype=dtype)
    odds = torch.randn(50, 500, dtype=dtype) * torch.logspace(-3, 1.5, 50, dtype=dtype)[:, None]
    x = g.quantile(odds)
    torch.testing.assert_close(g.log_odds(x)[0], odds, rtol=error, atol=error)
    image, log_slope = g.log_odds(x)
    steep = log_slope > math.log(0.01)  # on a plateau between two modes g(x) has lost the digits of x
    assert steep.double().mean() > 0.8
    torch.testing.assert_close(g.quantile(image)[steep], x[steep], rtol=error, atol=error)
    far = LogisticMixture(*(part[:1, :1] for part in g))  # a single component
    torch.testing.assert_close(far.quantile(odds[:, :1]), far.loc + far.log_scale.exp() * odds[:, :1])


def test_the_gradient_of_the_inverse_is_the_implicit_one():
    """That of the inverse of the Jacobian, and by finite differences."""
    parameters = [part.requires_grad_() for part in (torch.randn(K, 3), 2 * torch.randn(K, 3), torch.randn(K, 3))]
    odds = torch.randn(5, 3, requires_grad=True)

    def inverse(odds, logits, loc, log_scale):
        return LogisticMixture(logits.log_softmax(-2), loc, log_scale).quantile(odds)

    assert torch.autograd.gradcheck(inverse, (odds, *parameters))


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("options", [{}, {"swap": True}, {"bound": None}], ids=str)
def test_gradients_reach_the_network_and_are_right_both_ways(options, inverse):
    layer = randomise(coupling(2, **options), 0.5)
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x, *parameters):
        held = dict(zip(names, parameters, strict=True))
        way = Both(layer, inverse)
        return torch.func.functional_call(way, {f"layer.{name}": value for name, value in held.items()}, (x,))

    x = torch.randn(3, 4, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *(value.detach().requires_grad_() for value in values)))


class Both(torch.nn.Module):
    def __init__(self, layer, inverse: bool) -> None:
        super().__init__()
        self.layer, self.inverse = layer, inverse

    def forward(self, x):
        return self.layer.inverse_and_log_det(x) if self.inverse else self.layer.forward_and_log_det(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [lambda: coupling(zero_init=True), lambda: convolutional()])
def test_it_starts_as_nearly_the_identity(make, dtype):
    layer = make().to(dtype)
    shape = (6,) if layer.domain.event_dim == 1 else (2, 2, 2)
    for x in (torch.randn(50, *shape, dtype=dtype), torch.full((1, *shape), -50.0, dtype=dtype)):
        y, log_det = layer.forward_and_log_det(x)
        assert y.dtype == log_det.dtype == dtype
        torch.testing.assert_close(y, x, rtol=0, atol=0.06)
        assert (log_det.abs() < 0.04 * math.prod(shape)).all()
    y.sum().backward()
    rows = [parameter.grad for name, parameter in layer.named_parameters() if name.endswith("out.weight")]
    for row in rows:  # components learn to differ: the heads of no two have the same gradient
        assert len(row[6 : 6 + 3 * K].reshape(K, -1).round(decimals=9).unique(dim=0)) == K


def test_with_one_component_it_is_the_affine_coupling():
    network = randomise(MLP(3, (3, 3, 3, 3, 3), [8]), 0.5)
    layer, x = LogisticMixtureCoupling(network, 1), torch.randn(7, 6)
    raw, shift, _, loc, log_scale = network(x[:, :3])
    bounded, of_component = 2 * torch.tanh(raw / 2), 5 * torch.tanh(log_scale / 5)
    y, log_det = layer.forward_and_log_det(x)
    torch.testing.assert_close(y[:, 3:], bounded.exp() * (x[:, 3:] - loc) * (-of_component).exp() + shift)
    torch.testing.assert_close(log_det, (bounded - of_component).sum(-1))
    assert torch.equal(y[:, :3], x[:, :3])


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("name", FLOWS)
def test_flows_have_the_density_of_their_map(name, context):
    flow = randomise(FLOWS[name](components=3, context=context), 0.15).eval()
    given = (torch.randn(1, context),) if context else ()
    assert sum(isinstance(part, LogisticMixtureCoupling) for part in flow.modules()) >= 2
    assert not any(isinstance(part, AffineCoupling) for part in flow.modules())
    epsilon = torch.randn(3, flow.base_loc.numel())
    y = flow(*given).from_base(epsilon)
    back, _ = flow(*given).to_base(y)
    torch.testing.assert_close(back, epsilon, rtol=0, atol=1e-6)
    rows = [jacobian(lambda e: flow(*given).from_base(e[None]).flatten(), row) for row in epsilon]
    expected = dist.Normal(0, 1).log_prob(epsilon).sum(-1) - torch.stack([row.slogdet()[1] for row in rows])
    torch.testing.assert_close(flow(*given).log_prob(y), expected, rtol=1e-6, atol=1e-6)
    flow(*given).rsample([2]).sum().backward()
    assert all(parameter.grad is not None for parameter in flow.parameters())
    assert all(parameter.grad.isfinite().all() for parameter in flow.parameters())


@pytest.mark.parametrize("name", FLOWS)
def test_flows_start_near_those_of_affine_couplings(name):
    flow, epsilon = FLOWS[name](components=3).eval(), None
    epsilon = 0.3 * torch.randn(3, flow.base_loc.numel())
    y = flow().from_base(epsilon)
    y = y if name in ("vector", "prior") else y.logit()
    assert (y.flatten(1).sort().values - epsilon.sort().values).abs().max() < 0.3


def test_a_density_in_the_plane_integrates_to_one():
    flow = randomise(FlowPrior(2, 4, [8], components=3), 0.2)
    side = torch.linspace(-20, 20, 801)
    with torch.no_grad():
        mass = sum(flow().log_prob(torch.cartesian_prod(row, side)).exp().sum() for row in side.split(200))
    assert float(mass * (side[1] - side[0]) ** 2) == pytest.approx(1, abs=1e-3)


def test_it_fits_what_an_affine_coupling_of_one_coordinate_cannot():
    """Two modes of one coordinate, independent of the other: an affine map of a normal has one."""
    torch.manual_seed(0)
    x = torch.stack([torch.randn(400), torch.randn(400) * 0.3 + 4 * torch.rand(400).round() - 2], 1)
    bounds = {}
    for components in (0, 6):
        flow = FlowPrior(2, 1, [8], components=components)
        optimizer = torch.optim.Adam(flow.parameters(), lr=0.03)
        for _ in range(150):
            optimizer.zero_grad()
            loss = -flow().log_prob(x).mean()
            loss.backward()
            optimizer.step()
        bounds[components] = float(loss.detach())
    assert bounds[6] < bounds[0] - 0.4


def test_compiled_is_eager():
    objective = ELBOWithTerms(Trace_ELBO(), randomise(DensityModel(FLOWS["vector"](components=3)), 0.2), NoLatents())
    compiled, x, results = CompiledELBO(objective, backend="eager").train(), torch.randn(6, 5), []
    objective(x)  # ActNorm initialises itself by data
    for module in (compiled, objective):
        set_seed(1)
        module.zero_grad()
        loss, _ = module(x)
        loss.backward()
        results.append((loss, {name: p.grad for name, p in objective.named_parameters()}))
    assert compiled._compiler.graph is not None
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: coupling(bound=0.0), "bound must be positive"),
        (lambda: coupling(dim=0), "must be negative"),
        (lambda: LogisticMixtureCoupling(MLP(3, 3), 0), "components must be at least 1"),
        (lambda: coupling(mask=torch.ones(6)), "zeros and ones"),
        (lambda: coupling(mask=alternating(6), swap=True), "leave out dim and swap"),
        (lambda: coupling()(torch.zeros(5)), "which is odd"),
        (lambda: coupling(6, mask=alternating(6))(torch.zeros(2, 5)), r"the mask is \(6,\)"),
        (lambda: LogisticMixtureCoupling(MLP(3, (3, 3)), K)(torch.zeros(6)), r"three of \(\*, 12\); got \[\(3,\), "),
        (lambda: LogisticMixtureCoupling(MLP(3, 3), K)(torch.zeros(6)), "got Tensor"),
        (lambda: flip_realnvp((4,), components=-1), "components must be at least 0"),
        (lambda: image_realnvp((1, 2, 2), components=-1), "components must be at least 0"),
        (lambda: vector_realnvp(4, components=-1), "components must be at least 0"),
    ],
)
def test_bad_arguments_are_told(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_guide_draws_in_the_fast_direction(monkeypatch):
    guide = randomise(FlowGuide(MLPEncoder((1, 2, 2), [3]), 4, 3, [8], components=3), 0.3)
    q = guide.posterior(torch.rand(5, 1, 2, 2))
    z = q.rsample([2])
    solved = q.log_prob(z.detach().clone())
    monkeypatch.setattr(LogisticMixture, "_solved", lambda *_: pytest.fail("a draw was inverted"))
    torch.testing.assert_close(q.log_prob(z), solved)
