"""Importance-weighted bounds against exact answers, and the terms of the ELBO."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import ExactGuide, LinearGaussian, WideGuide
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO

from inference import ELBOWithTerms, Images, bits_per_dim, iwae_bound, log_weights, negative_bounds, set_seed
from inference.evaluation.observed import observed
from inference.programs.importance import checked_log_weights
from inference.programs.terms import Terms, divergences_by_dimension, draw_traces, elbo_terms, mean_terms
from inference.training.measure import measure
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def model():
    return LinearGaussian()


@pytest.fixture
def x(model):
    return model(None, batch=40).detach()


def test_exact_posterior_gives_the_evidence_from_every_sample(model, x):
    log_w = log_weights(model, ExactGuide(model), x, num_samples=5)
    torch.testing.assert_close(log_w, model.log_evidence(x).expand(5, -1))
    torch.testing.assert_close(iwae_bound(log_w, 5), model.log_evidence(x))


def test_bounds_rise_with_m_and_stay_below_the_evidence(model, x):
    log_w = log_weights(model, WideGuide(model), x, num_samples=20_000)
    bounds = [iwae_bound(log_w, m).mean() for m in (1, 5, 50)]
    spread = log_w.std(0).mean() / math.sqrt(20_000 * len(x))  # standard error of the first; the others have less
    evidence = model.log_evidence(x).mean()
    for lower, upper in zip(bounds, [*bounds[1:], evidence], strict=True):
        assert lower < upper + 3 * spread
    assert bounds[0] < bounds[1] - 3 * spread
    assert evidence - bounds[2] < 0.05


def test_elbo_is_the_evidence_minus_the_divergence_from_the_posterior(model, x):
    guide = WideGuide(model)
    log_w = log_weights(model, guide, x, num_samples=50_000)
    mean, covariance = model.posterior(x)
    q = dist.MultivariateNormal(mean + guide.shift, guide.scale**2 * torch.eye(2))
    gap = torch.distributions.kl_divergence(q, dist.MultivariateNormal(mean, covariance))
    error = log_w.std(0) / math.sqrt(len(log_w))
    assert ((log_w.mean(0) + gap - model.log_evidence(x)).abs() < 4.5 * error).all()


def test_equals_pyros_renyi_bound_on_the_same_draws(model, x):
    """RenyiELBO(alpha=0) on one image at a time is minus its importance-weighted bound."""
    guide = WideGuide(model)
    for i in range(3):
        elbo = RenyiELBO(alpha=0, num_particles=11, vectorize_particles=True, max_plate_nesting=1)
        pyro.set_rng_seed(i)
        loss = elbo.loss(model, guide, x[i : i + 1])
        pyro.set_rng_seed(i)
        bound = iwae_bound(log_weights(model, guide, x[i : i + 1], 11), 11)
        assert -loss == pytest.approx(bound.item(), abs=1e-10)


def test_groups_are_disjoint_and_averaged():
    log_w = torch.randn(7, 3)
    by_hand = torch.stack([log_w[0:3].logsumexp(0), log_w[3:6].logsumexp(0)]).mean(0) - math.log(3)
    torch.testing.assert_close(iwae_bound(log_w, 3), by_hand)
    torch.testing.assert_close(iwae_bound(log_w, 1), log_w.mean(0))


@pytest.mark.parametrize("chunk_size", [1, 7, 40, 1000, None])
def test_chunks_change_neither_shape_nor_law(model, x, chunk_size):
    log_w = log_weights(model, WideGuide(model), x, num_samples=60, chunk_size=chunk_size)
    assert log_w.shape == (60, 40)
    exact = log_weights(model, ExactGuide(model), x, num_samples=60, chunk_size=chunk_size)
    torch.testing.assert_close(exact, model.log_evidence(x).expand(60, -1))


def test_each_image_is_encoded_once(model, x):
    guide = WideGuide(model)
    weigh = partial(checked_log_weights, model, guide)
    log_weights(model, guide, x, num_samples=100, chunk_size=1000, weigh=weigh)  # ten images at a time
    assert guide.calls == 4


def test_memory_is_bounded_by_the_chunk(model, x):
    most = 0

    class Watch(LinearGaussian):
        def forward(self, x=None, batch=1):
            nonlocal most
            observed = super().forward(x, batch)
            most = max(most, pyro.poutine.runtime._PYRO_STACK[0].trace.nodes["z"]["value"][..., 0].numel())
            return observed

    watched = Watch()
    for num_samples in (10, 500):
        log_weights(watched, WideGuide(watched), x, num_samples, chunk_size=64)
    assert 0 < most <= 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"num_samples": 2, "chunk_size": 0}, "chunk_size"),
        ({"x": torch.zeros(0, 3), "num_samples": 1}, "at least one observation"),
        ({"x": torch.full((2, 3), math.nan), "num_samples": 1}, "not finite"),
    ],
)
def test_bad_arguments_are_named(model, x, arguments, message):
    with pytest.raises(ValueError, match=message):
        log_weights(model, ExactGuide(model), **{"x": x, **arguments})


@pytest.mark.parametrize("m", [0, -1, 8])
def test_m_must_fit_the_samples(m):
    with pytest.raises(ValueError, match="m must be from 1"):
        iwae_bound(torch.zeros(7, 2), m)


def test_a_site_outside_the_plate_is_named(model, x):
    def leaky(x):
        pyro.sample("global", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        return model(x)

    def guide(x):
        pyro.sample("global", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        ExactGuide(model)(x)

    with pytest.raises(ValueError, match="'global'"):
        log_weights(leaky, guide, x, 4)


@pytest.mark.parametrize(("name", "size"), [("zz", 2), (None, 2), ("z", 1)])
def test_latents_of_model_and_guide_must_be_the_same(model, x, name, size):
    """Where they differ, densities would be left out of the weights, or broadcast into them."""

    def guide(x):
        with pyro.plate("data", len(x)):
            if name is not None:
                pyro.sample(name, dist.Normal(torch.zeros(size), 1.0).to_event(1))

    def lenient(x):  # takes codes of either size
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True) + torch.zeros(3), 1.0).to_event(1), obs=x)

    with pytest.raises(ValueError, match="same latents|event shape"):
        log_weights(lenient, guide, x, 4)


@pytest.mark.parametrize(
    ("log_w", "m", "error"),
    [
        (torch.zeros(3), 1, ValueError),
        (torch.full((3, 2), math.nan), 1, ValueError),
        (torch.full((3, 2), math.inf), 1, ValueError),
        (torch.zeros(3, 2), 2.5, TypeError),
    ],
)
def test_weights_that_are_none_are_refused(log_w, m, error):
    with pytest.raises(error):
        iwae_bound(log_w, m)


@pytest.mark.parametrize("x", [torch.zeros(2, 3).long(), torch.zeros(2, 3).byte(), None, [1.0]])
def test_images_must_be_floats(model, x):
    with pytest.raises(TypeError, match="floats|must be a Tensor"):
        log_weights(model, ExactGuide(model), x, 2)


def small_vae() -> tuple[VAE, MeanFieldGuide]:
    shape = (1, 3, 3)
    return VAE(StandardNormal(2), MLPDecoder(2, shape, [8])), MeanFieldGuide(MLPEncoder(shape, [8]), 2)


def test_closed_form_divergence_equals_monte_carlo():
    model, guide = small_vae()
    x = torch.rand(1, 1, 3, 3).round().expand(40_000, -1, -1, -1)
    traces = draw_traces(model, guide, x)
    closed, sampled = (elbo_terms(*traces, closed_form=flag).kl for flag in (True, False))
    q = guide.posterior(x[:1])
    loc, scale = q.mean, q.stddev
    formula = 0.5 * (scale**2 + loc**2 - 1 - (scale**2).log()).sum()
    torch.testing.assert_close(closed, formula.expand(40_000))
    error = sampled.std() / math.sqrt(len(sampled))
    assert abs(sampled.mean() - formula) < 4 * error


def test_objective_reports_the_terms_of_its_own_loss():
    x = torch.rand(5, 1, 3, 3).round()
    loss, terms = ELBOWithTerms(TraceMeanField_ELBO(), *small_vae())(x)
    torch.testing.assert_close(terms.negative_elbo.mean(), loss.detach())
    assert not terms.kl.requires_grad
    loss, terms = ELBOWithTerms(
        Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1), *small_vae()
    )(x)
    assert terms.reconstruction.shape == (3, 5)
    assert loss.requires_grad


def test_masked_pixels_do_not_count(model, x):
    guide = ExactGuide(model)
    nothing = pyro.poutine.mask(model, mask=torch.tensor(False))
    log_w = log_weights(nothing, pyro.poutine.mask(guide, mask=torch.tensor(False)), x, 3)
    torch.testing.assert_close(log_w, torch.zeros(3, 40))


class TwoOfEach(torch.nn.Module):
    """Latents a and b; observations u of a, and v of b: of the second, half the batch is masked out."""

    def __init__(self, loc: float, scale: float, guide: bool = False) -> None:
        super().__init__()
        self.loc, self.scale, self.guide = loc, scale, guide

    def forward(self, x: torch.Tensor) -> None:
        known = torch.arange(len(x)) % 2 == 0
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(self.loc * torch.ones(2), self.scale).to_event(1))
            with pyro.poutine.mask(mask=known):
                b = pyro.sample("b", dist.Normal(self.loc * torch.ones(3), self.scale).to_event(1))
            if not self.guide:
                pyro.sample("u", dist.Normal(a.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)
                with pyro.poutine.mask(mask=known):
                    pyro.sample("v", dist.Normal(b.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)


def test_terms_are_sums_over_all_sites_that_are_not_masked():
    x, known = torch.randn(6, 1), torch.arange(6) % 2 == 0
    traces = draw_traces(TwoOfEach(0.0, 1.0), TwoOfEach(0.3, 0.5, guide=True), x)
    a, b = (traces[1].nodes[name]["value"] for name in ("a", "b"))
    terms = elbo_terms(*traces)
    one = 0.5 * (0.5**2 + 0.3**2 - 1) - math.log(0.5)
    torch.testing.assert_close(terms.kl, one * (2 + 3 * known))

    def surprise(z: torch.Tensor) -> torch.Tensor:
        return 0.5 * (x[:, 0] - z.sum(-1)) ** 2 + 0.5 * math.log(2 * math.pi)

    torch.testing.assert_close(terms.reconstruction, surprise(a) + known * surprise(b))
    torch.testing.assert_close(terms.negative_elbo, terms.kl + terms.reconstruction)
    ratio = [(-0.5 * ((z - 0.3) / 0.5) ** 2 - math.log(0.5) + 0.5 * z**2).sum(-1) for z in (a, b)]
    sampled = elbo_terms(*traces, closed_form=False)
    torch.testing.assert_close(sampled.kl, ratio[0] + known * ratio[1])
    parts = divergences_by_dimension(*traces)
    assert {name: part.shape for name, part in parts.items()} == {"a": (6, 2), "b": (6, 3)}
    torch.testing.assert_close(parts["a"], torch.full((6, 2), one))


def test_a_divergence_that_does_not_factorise_is_one_number_an_image():
    model = LinearGaussian()
    traces = draw_traces(model, ExactGuide(model), torch.randn(5, 3))
    (part,) = divergences_by_dimension(*traces).values()
    assert part.shape == (5, 1)
    q, z = (traces[1].nodes["z"][name] for name in ("fn", "value"))
    log_prior = -0.5 * z.square().sum(-1) - math.log(2 * math.pi)
    torch.testing.assert_close(part[:, 0], q.log_prob(z) - log_prior)


def test_means_of_terms_are_over_images_not_over_batches():
    batches = [Terms(torch.ones(3), torch.zeros(3)), Terms(torch.full((1,), 5.0), torch.full((1,), 8.0))]
    assert [float(term) for term in mean_terms(batches)] == [2.0, 2.0]


def test_scaling_changes_the_loss_and_not_the_measure():
    torch.set_default_dtype(torch.float32)
    model, guide = small_vae()
    images = Images("test", torch.randint(0, 2, (6, 1, 3, 3)).byte(), torch.zeros(6), levels=2)
    scaled = [pyro.poutine.scale(part, scale=0.1) for part in (model, guide)]
    plain = measure(model, guide, images, 6)
    torch.testing.assert_close(measure(*scaled, images, 6)[0].negative_elbo, plain[0].negative_elbo)


def test_negative_bounds_have_their_errors():
    torch.set_default_dtype(torch.float32)
    pair = small_vae()
    images = Images("test", torch.randint(0, 256, (30, 1, 3, 3)).byte(), torch.zeros(30), 256, "dynamic")
    many = negative_bounds(*pair, images, ms=(1, 5), repeats=200, batch_size=7)
    spread = torch.tensor(
        [negative_bounds(*pair, images, (5,), repeats=4, seed=seed)[5].value for seed in range(1, 41)]
    ).std()
    claimed = many[5].standard_error * math.sqrt(200 / 4)
    assert many[5].value < many[1].value
    assert float(spread) == pytest.approx(claimed, rel=0.4)
    assert many[5].scaled(2).value == 2 * many[5].value


def test_of_one_repeat_or_one_image_nothing_is_known_of_how_it_varies():
    torch.set_default_dtype(torch.float32)
    one = negative_bounds(*small_vae(), Images("test", torch.zeros(1, 1, 3, 3).byte(), torch.zeros(1), 2), (5,), 1)[5]
    assert one.standard_error is None
    assert one.standard_error_over_images is None


def test_negative_bounds_are_those_of_the_draws_that_seed_and_repeat_name():
    torch.set_default_dtype(torch.float32)
    pair = small_vae()
    images = Images("test", torch.randint(0, 256, (5, 1, 3, 3)).byte(), torch.zeros(5), 256, "dynamic")
    expected = []
    for repeat in range(2):
        set_seed(7, repeat, 0, 1)
        x = images.observe()
        set_seed(7, repeat, 0)
        expected.append(-iwae_bound(log_weights(*pair, x, 3), 3))
    set_seed(1)  # the generator's state before makes no difference
    found = negative_bounds(*(program.train() for program in pair), images, (3,), repeats=2, seed=7)[3]
    assert all(part.training for program in pair for part in program.modules())
    assert found.value == pytest.approx(float(sum(expected).mean()) / 2)
    assert found.standard_error == pytest.approx(
        float((expected[0] - expected[1]).square().sum()) ** 0.5 / 10, rel=1e-3
    )
    assert found.standard_error_over_images == pytest.approx(float((sum(expected) / 2).std()) / 5**0.5, rel=1e-3)


def test_binarised_pixels_follow_from_seed_and_repeat_whatever_is_drawn_in_between():
    torch.set_default_dtype(torch.float32)
    images = Images("test", torch.randint(0, 256, (7, 1, 3, 3)).byte(), torch.zeros(7), 256, "dynamic")

    def drawn(batch_size: int = 7, between: int = 0, seed: int = 0, repeat: int = 0) -> torch.Tensor:
        found = []
        for (x,) in observed(images, batch_size, torch.device("cpu"), seed, repeat):
            found.append(x)
            torch.randn(between)
        return torch.cat(found)

    state = torch.get_rng_state()
    assert all(torch.equal(drawn(), drawn(*how)) for how in [(1,), (2, 5), (3, 1), (8, 100)])
    assert not any(torch.equal(drawn(), drawn(**other)) for other in ({"seed": 1}, {"repeat": 1}))
    torch.set_rng_state(state)
    drawn()
    assert torch.equal(torch.get_rng_state(), state)


def test_two_repeats_tell_the_standard_error_of_many():
    """The means of two repeats alone would miss it by a factor of two, half of the time."""
    torch.set_default_dtype(torch.float32)
    pair = small_vae()
    images = Images("test", torch.randint(0, 256, (200, 1, 3, 3)).byte(), torch.zeros(200), 256, "dynamic")
    means = [negative_bounds(*pair, images, (3,), repeats=1, seed=seed)[3].value for seed in range(1, 61)]
    spread = float(torch.tensor(means).std()) / 2**0.5
    for seed in range(4):
        two = negative_bounds(*pair, images, (3,), repeats=2, seed=seed)[3]
        assert two.standard_error == pytest.approx(spread, rel=0.35)


def test_a_bound_that_is_not_finite_ends_the_first_repeat():
    torch.set_default_dtype(torch.float32)

    def guide(x):
        with pyro.plate("data", len(x)):
            return pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))

    def never(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Uniform(torch.full([1], 1e3), 2e3).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=z[..., None, None].expand(*z.shape, 3, 3)).to_event(3), obs=x)

    images = Images("test", torch.zeros(4, 1, 3, 3).byte(), torch.zeros(4), 2)
    with pytest.raises(FloatingPointError, match="m = 2 is inf: some observation has no density"):
        negative_bounds(never, guide, images, (2,), repeats=10**9)


@pytest.mark.parametrize("batch_size", [1, 7, 30])
def test_negative_bounds_of_a_guide_that_knows_the_posterior_are_minus_the_evidence(batch_size):
    """Each repeat and each m gives the same, so nothing varies but the images."""

    class Row(LinearGaussian):
        levels = 256

        def forward(self, x: torch.Tensor | None = None) -> torch.Tensor:
            return super().forward(None if x is None else x.double().flatten(1) / 100)

        def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return super().posterior(x.double().flatten(1) / 100)

    model = Row()
    images = Images("rows", torch.randint(0, 256, (30, 1, 1, 3)).byte(), torch.zeros(30), 256)
    evidence = model.log_evidence(images.observe().double().flatten(1) / 100)
    found = negative_bounds(model, ExactGuide(model), images, (1, 4), repeats=3, batch_size=batch_size)
    assert list(found) == [1, 4]
    for estimate in found.values():
        assert estimate.value == pytest.approx(-evidence.mean().item())
        assert estimate.standard_error == pytest.approx(0, abs=1e-9)
        assert estimate.standard_error_over_images == pytest.approx(evidence.std().item() / math.sqrt(30))
    half = found[1].scaled(0.5)
    assert half.value == found[1].value / 2
    assert half.standard_error_over_images == found[1].standard_error_over_images / 2


@pytest.mark.parametrize("bad", [{"ms": (0, 5)}, {"ms": ()}, {"repeats": 0}, {"batch_size": 0}])
def test_negative_bounds_refuse_numbers_below_one(bad):
    images = Images("test", torch.zeros(2, 1, 3, 3).byte(), torch.zeros(2), 2)
    with pytest.raises(ValueError, match="at least 1"):
        negative_bounds(*small_vae(), images, **bad)


def test_grey_images_are_not_shown_to_a_model_of_binary_ones():
    torch.set_default_dtype(torch.float32)
    model, guide = small_vae()
    grey = Images("grey", torch.randint(0, 17, (6, 1, 3, 3)).byte(), torch.zeros(6), levels=17)
    for wrong in (lambda: measure(model, guide, grey, 3), lambda: negative_bounds(model, guide, grey, (2,), 1)):
        with pytest.raises(ValueError, match="2 levels, but grey shows it 17"):
            wrong()


def test_bits_per_dim():
    assert bits_per_dim(8 * math.log(2), (2, 2, 2)) == pytest.approx(1)
