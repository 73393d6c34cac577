"""Objectives on a model whose evidence is known, and against hand-written gradients."""

import math
from fractions import Fraction

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import LinearGaussian
from pyro.infer import SVI
from pyro.infer import RenyiELBO as PyroRenyi
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from inference import (
    STL,
    BetaELBO,
    DReG,
    ELBOWithTerms,
    Images,
    RenyiELBO,
    Settings,
    Trace_ELBO,
    fit,
    iwae_bound,
    log_weights,
    set_seed,
)
from inference.objectives.bound import without_negligible
from pyro_models import VAE, FullRankGuide, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal

pytestmark = pytest.mark.usefixtures("float64")


class AffineGuide(nn.Module):
    """N(A x + a, diag s^2), with draws that a test may repeat."""

    def __init__(self, size: int = 3, latent_dim: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(latent_dim, size))
        self.offset = nn.Parameter(0.1 * torch.randn(latent_dim))
        self.log_scale = nn.Parameter(torch.full((latent_dim,), -0.3))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ self.weight.T + self.offset, self.log_scale.exp()).to_event(1))


@pytest.fixture
def pair():
    return LinearGaussian(), AffineGuide()


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3)


def gradients(objective, model, guide, x) -> dict[str, Tensor]:
    module = nn.ModuleDict({"model": model, "guide": guide})
    module.zero_grad()
    objective.differentiable_loss(model, guide, x).backward()
    return {name: -p.grad.clone() for name, p in module.named_parameters()}


def mean_and_error(objective, model, guide, x, repeats: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    draws: dict[str, list[Tensor]] = {}
    for _ in range(repeats):
        for name, gradient in gradients(objective, model, guide, x).items():
            draws.setdefault(name, []).append(gradient)
    stacked = {name: torch.stack(values) for name, values in draws.items()}
    return (
        {name: v.mean(0) for name, v in stacked.items()},
        {name: v.std(0) / math.sqrt(repeats) for name, v in stacked.items()},
    )


def iwae_by_hand(model: LinearGaussian, guide: AffineGuide, x: Tensor, noise: Tensor) -> Tensor:
    """The bound with all densities written out, at given noise (K, B, latent_dim)."""

    def normal(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return (-0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)

    loc, scale = x @ guide.weight.T + guide.offset, guide.log_scale.exp()
    z = loc + scale * noise
    log_w = (
        normal(z, torch.zeros(()), torch.ones(()))
        + normal(x, z @ model.weight.T + model.offset, torch.tensor(model.noise))
        - normal(z, loc, scale)
    )
    return (log_w.logsumexp(0) - math.log(len(noise))).sum()


def test_iwae_gradient_is_the_hand_written_one_and_that_of_finite_differences(pair):
    model, guide = pair
    x = images()
    set_seed(1)
    ours = gradients(RenyiELBO(0.0, 7), model, guide, x)
    set_seed(1)
    noise = torch.randn(7, 4, 2)
    parameters = dict(nn.ModuleDict({"model": model, "guide": guide}).named_parameters())
    theirs = torch.autograd.grad(iwae_by_hand(model, guide, x, noise), list(parameters.values()))
    for (name, parameter), expected in zip(parameters.items(), theirs, strict=True):
        torch.testing.assert_close(ours[name], expected, msg=name)
        flat, step = parameter.data.view(-1), 1e-5
        for i in range(len(flat)):
            values = []
            for sign in (1, -1):
                flat[i] += sign * step
                values.append(iwae_by_hand(model, guide, x, noise).detach().item())
                flat[i] -= sign * step
            assert ours[name].view(-1)[i].item() == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_equals_pyros_bound_for_one_image(pair, alpha):
    """For a batch of one the plate is of size one, and Pyro's joint bound is that of the image."""
    x = images(1)
    set_seed(3)
    ours = RenyiELBO(alpha, 6).loss(*pair, x)
    set_seed(3)
    theirs = PyroRenyi(alpha, num_particles=6, vectorize_particles=True, max_plate_nesting=1).loss(*pair, x)
    assert ours == pytest.approx(theirs, abs=1e-8)


def test_bound_is_one_for_each_image(pair):
    """Not of the batch as a whole: the mean over images of their own bounds."""
    x = images()
    set_seed(3)
    bound = RenyiELBO(0.0, 50).bound(*pair, x)
    set_seed(3)
    torch.testing.assert_close(bound, iwae_bound(log_weights(*pair, x, 50), 50))


def test_bounds_are_ordered_and_below_the_evidence(pair):
    x = images(200)
    evidence = pair[0].log_evidence(x).mean()
    values = [RenyiELBO(alpha, 400).bound(*pair, x).mean().item() for alpha in (2, 1, 0.5, 0)]
    assert values == sorted(values)
    assert values[-1] < evidence + 0.02


@pytest.mark.parametrize("objective", [STL(4), DReG(6)], ids=["STL", "DReG"])
def test_value_is_that_of_the_plain_bound(pair, objective):
    x = images()
    plain = RenyiELBO(1.0 if isinstance(objective, STL) else 0.0, objective.num_particles)
    set_seed(5)
    value = objective.bound(*pair, x)
    set_seed(5)
    torch.testing.assert_close(value, plain.bound(*pair, x))


@pytest.mark.parametrize("objective", [STL(4), DReG(6)], ids=["STL", "DReG"])
def test_the_held_density_sees_the_noise_of_the_draw(objective):
    """A guide whose encoder adds noise in training is another distribution at each call."""
    encoder = MLPEncoder((1, 2, 2), [8], noise=1.0)
    model, guide = VAE(StandardNormal(2), MLPDecoder(2, (1, 2, 2), [8])), MeanFieldGuide(encoder, 2)
    plain = RenyiELBO(1.0 if isinstance(objective, STL) else 0.0, objective.num_particles)
    x, values, after = torch.rand(5, 1, 2, 2).round(), [], []
    for bound in (objective, plain):
        set_seed(5)
        values.append(bound.bound(model.train(), guide.train(), x))
        after.append(torch.rand(3))
    torch.testing.assert_close(*values)
    assert torch.equal(*after)  # the second call leaves no trace on what is drawn next


def assert_same_mean(ours, plain, model, guide, x, repeats: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two estimators of one gradient; their standard errors are returned."""
    set_seed(0)
    (a, a_error), (b, b_error) = (mean_and_error(objective, model, guide, x, repeats) for objective in (ours, plain))
    for name in a:
        error = (a_error[name] ** 2 + b_error[name] ** 2).sqrt()
        assert ((a[name] - b[name]).abs() < 4.5 * error).all(), name
    return a_error, b_error


def test_dreg_has_the_mean_of_the_iwae_gradient_and_less_variance_for_the_guide(pair):
    ours, plain = assert_same_mean(DReG(64), RenyiELBO(0.0, 64), *pair, images(2), 1000)
    for name in ours:
        if name.startswith("guide"):
            assert ours[name].mean() < 0.5 * plain[name].mean(), name


@pytest.mark.parametrize("objective", [DReG(5), STL(5)], ids=["DReG", "STL"])
def test_a_guide_may_have_a_part_of_any_name(objective):
    """Also "fn", where Pyro's handlers keep the program that they wrap."""

    class Named(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name, self.head = name, nn.Linear(3, 4)
            self.add_module(name, nn.Linear(3, 3))

        def forward(self, x: Tensor) -> None:
            loc, raw = self.head(getattr(self, self.name)(x.flatten(1))).chunk(2, -1)
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    model, one, other = LinearGaussian(3, 2), Named("net"), Named("fn")
    other.load_state_dict({name.replace("net.", "fn."): value for name, value in one.state_dict().items()})
    found = []
    for guide in (one, other):
        set_seed(0)
        found.append(gradients(objective, model, guide, images()))
    torch.testing.assert_close([g["guide.head.weight"] for g in found[:1]], [g["guide.head.weight"] for g in found[1:]])


def test_stl_gradient_vanishes_at_the_posterior():
    """With one latent the exact posterior is an affine guide: its gradient is zero for every draw."""
    model, guide, x = LinearGaussian(3, 1), AffineGuide(3, 1), images()
    _, covariance = model.posterior(x)
    with torch.no_grad():
        guide.weight.copy_(covariance @ model.weight.T / model.noise**2)
        guide.offset.copy_(-guide.weight @ model.offset)
        guide.log_scale.copy_(0.5 * covariance.diag().log())
    noisy = gradients(Trace_ELBO(), model, guide, x)
    still = gradients(STL(), model, guide, x)
    for name in still:
        if name.startswith("guide"):
            torch.testing.assert_close(still[name], torch.zeros_like(still[name]), atol=1e-10, rtol=0)
    assert noisy["guide.log_scale"].abs().max() > 1e-3


def test_a_full_rank_guide_reaches_the_evidence_and_a_mean_field_one_does_not():
    class Flat(nn.Module):
        """The linear-Gaussian model for images of three pixels in a row."""

        levels = 256

        def __init__(self) -> None:
            super().__init__()
            self.of = LinearGaussian(3, 2, noise=0.5)
            self.of.weight.data = torch.tensor([[1.0, 1.0], [1.0, 0.6], [0.2, 1.0]])
            self.requires_grad_(False)

        def forward(self, x: Tensor | None = None) -> Tensor:
            return self.of(None if x is None else (x / 64 - 2).flatten(1))

    torch.set_default_dtype(torch.float32)
    pixels = Images("pixels", torch.randint(0, 256, (400, 1, 1, 3)).byte(), torch.zeros(400), 256)
    model = Flat()
    evidence = model.of.log_evidence((pixels.observe() / 64 - 2).flatten(1)).mean()
    gaps = {}
    for kind in (FullRankGuide, MeanFieldGuide):
        set_seed(0)
        guide = kind(MLPEncoder((1, 1, 3), [], levels=256), 2)
        fit(model, guide, pixels, pixels, Settings(epochs=150, batch_size=100, lr=3e-2), STL())
        gaps[kind] = float(evidence - iwae_bound(log_weights(model, guide, pixels.observe(), 100), 1).mean())
    assert abs(gaps[FullRankGuide]) < 0.01
    assert gaps[MeanFieldGuide] > 0.1


def test_beta_is_a_weight_on_the_divergence(pair):
    x = images()
    set_seed(2)
    loss, terms = ELBOWithTerms(BetaELBO(0.3), *pair)(x)
    torch.testing.assert_close(loss, (terms.reconstruction + 0.3 * terms.kl).mean())


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, [1, 1, 1, 1, 1]),
        ({"beta": 4.0, "warm_up": 0.5}, [0, 2, 4, 4, 4]),
        ({"warm_up": 1.0}, [0, 0.25, 0.5, 0.75, 1]),
        ({"warm_up": 0.5, "cycles": 2}, [0, 1, 0, 1, 1]),
    ],
)
def test_annealing(options, weights):
    objective = BetaELBO(**options)
    assert [objective.weight(t) for t in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(weights)


@pytest.mark.parametrize("cycles", [1, 10, 90, 139, 1251])
def test_cycles_of_the_weight_begin_and_end_with_whole_steps(cycles):
    """Rounded shares of the run would give the weight of a cycle's end at its beginning."""
    objective, steps = BetaELBO(2.0, 0.5, cycles), 12_510
    for step in range(steps + 1):
        objective.progress = step / steps
        risen = Fraction(step * cycles % steps, steps) / Fraction(1, 2)
        assert objective.annealed() == (2.0 * min(1.0, float(risen)) if step < steps else 2.0), step


def test_the_loop_tells_the_objective_how_far_it_is():
    seen = []

    class Recording(BetaELBO):
        def weight(self, progress: float) -> float:
            seen.append(progress)
            return super().weight(progress)

    pixels = Images("pixels", torch.randint(0, 2, (6, 1, 2, 2)).byte(), torch.zeros(6), 2)
    torch.set_default_dtype(torch.float32)
    fit(*small_vae(), pixels, pixels, Settings(epochs=7, batch_size=1), Recording())
    assert seen[-42:] == [step / 42 for step in range(42)]  # exactly: no sum of rounded parts


def test_free_bits_are_charged_by_coordinate(pair):
    model, guide = pair
    x = images(50)
    loc, scale = x @ guide.weight.T + guide.offset, guide.log_scale.exp()
    by_dimension = (0.5 * (scale**2 + loc**2 - 1) - scale.log()).mean(0)
    for budget in (0.0, float(by_dimension.mean()), 5.0):
        set_seed(4)
        loss, terms = ELBOWithTerms(BetaELBO(free_bits=budget), model, guide)(x)
        charged = by_dimension.clamp(min=budget).sum()
        torch.testing.assert_close(loss, terms.reconstruction.mean() + charged)
    set_seed(4)
    within_budget = gradients(BetaELBO(free_bits=5.0), model, guide, x)
    set_seed(4)
    free = gradients(BetaELBO(0.0), model, guide, x)
    for name in free:
        torch.testing.assert_close(within_budget[name], free[name], msg=name)


def small_vae() -> tuple[VAE, MeanFieldGuide]:
    model = VAE(StandardNormal(2), MLPDecoder(2, (1, 2, 2), [4]))
    return model, MeanFieldGuide(MLPEncoder((1, 2, 2), [4]), 2)


@pytest.mark.parametrize(
    "objective", [RenyiELBO(0.0, 3), STL(2), DReG(3), BetaELBO(0.5)], ids=["R", "STL", "DReG", "B"]
)
def test_every_objective_serves_pyros_svi(objective):
    model, guide = small_vae()
    x = torch.rand(5, 1, 2, 2).round()
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), objective)
    before = guide.head.bias.detach().clone()
    assert all(math.isfinite(svi.step(x)) for _ in range(3))
    assert not torch.equal(before, guide.head.bias)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RenyiELBO(num_particles=0), "num_particles"),
        (lambda: RenyiELBO(float("nan")), "alpha"),
        (lambda: DReG(2.5), "num_particles"),
        (lambda: BetaELBO(-1.0), "beta"),
        (lambda: BetaELBO(warm_up=1.5), "warm_up"),
        (lambda: BetaELBO(cycles=0), "cycles"),
        (lambda: BetaELBO(free_bits=-0.1), "free_bits"),
    ],
)
def test_bad_arguments_are_told(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_latent_that_is_not_reparameterised_is_told():
    class Discrete(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.OneHotCategorical(logits=self.logits))

    with pytest.raises(ValueError, match="reparameterised"):
        DReG(3).bound(Discrete(), Discrete(), images())


class Denormals(TorchDispatchMode):
    """Counts the numbers besides zero that are below the smallest normal one, in whatever is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.is_floating_point():
            size = found.detach().abs()
            self.count += int(((size > 0) & (size < torch.finfo(size.dtype).tiny)).sum())
        return found


IMPORTANCE_WEIGHTED = [RenyiELBO(0.0, 200), RenyiELBO(0.5, 200), RenyiELBO(-1.0, 200), RenyiELBO(2.0, 200), DReG(200)]


@pytest.mark.parametrize("objective", IMPORTANCE_WEIGHTED, ids=lambda objective: type(objective).__name__)
def test_no_gradient_is_slowed_by_denormal_numbers(objective, pair):
    model, guide = (half.float() for half in pair)
    x = 20 * images(50).float()
    assert float(log_weights(model, guide, x, 200).std(0).mean()) > 50  # nats: most weights do not matter
    with Denormals() as found:
        gradients(objective, model, guide, x)
    assert found.count < 100  # by chance; of all weights, tens of thousands


@pytest.mark.parametrize("objective", IMPORTANCE_WEIGHTED, ids=lambda objective: type(objective).__name__)
def test_leaving_out_what_cannot_matter_changes_nothing(objective, pair, monkeypatch):
    model, guide = pair
    x = 20 * images()
    found = []
    for kept in (without_negligible, lambda log_w: log_w):
        monkeypatch.setattr(f"{type(objective).__module__}.without_negligible", kept)
        set_seed(0)
        found.append((objective.loss(model, guide, x), *gradients(objective, model, guide, x).values()))
    for ours, whole in zip(*found, strict=True):
        torch.testing.assert_close(torch.as_tensor(ours), torch.as_tensor(whole), rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_matters_is_never_left_out(dtype):
    log_w = torch.tensor([[0.0, 5.0], [-3.0, -10.0], [-12.0, 1.0]], dtype=dtype)  # shares down to 6e-6
    assert torch.equal(without_negligible(log_w), log_w)


@pytest.mark.parametrize("size", [1.0, 1e9])  # in float32, 1e9 - 22 is 1e9
def test_the_shares_of_weights_of_any_size_add_up_to_one(size):
    log_w = (size * torch.tensor([[-1.0, 1.0], [-1.5, 2.0]])).float().requires_grad_()
    without_negligible(log_w).logsumexp(0).sum().backward()
    torch.testing.assert_close(log_w.grad.sum(0), torch.ones_like(log_w[0]))
