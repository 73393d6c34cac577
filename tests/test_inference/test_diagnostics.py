"""Diagnostics of latents and weights, against cases whose answer is known."""

import json
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import ExactGuide, LinearGaussian
from torch import Tensor, nn

from inference import Images, diagnose, effective_sample_share, pareto_k
from inference.evaluation.diagnosis import Latent, _ranges
from inference.evaluation.latents import latent_record, mixture_log_prob
from inference.evaluation.weights import are_equal
from pyro_models import FlowDequantizer, FlowGuide, FlowModel, MLPEncoder, UniformDequantizer, flip_realnvp

COUNT = 60


class Known(nn.Module):
    """z ~ N(0, I), x ~ N(z_1 + z_2, 1) in every pixel; the guide is told what to say."""

    levels = 2

    def __init__(self, slope: list[float], scale: list[float]) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))
        self.scale = torch.tensor(scale)

    def forward(self, x: Tensor | None) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None], 1.0).to_event(3), obs=x)

    def guide(self) -> nn.Module:
        class Guide(nn.Module):
            def forward(guide, x: Tensor) -> None:  # noqa: N805
                with pyro.plate("data", len(x)):
                    loc = x.flatten(1).mean(1, keepdim=True) * self.slope
                    pyro.sample("z", dist.Normal(loc, self.scale).to_event(1))

        return Guide()


def images() -> Images:
    pixels = torch.zeros(COUNT, 1, 1, 1).byte()
    pixels[::2] = 1
    return Images("halves", pixels, torch.zeros(COUNT), 2)


def run(slope: list[float], scale: list[float]):
    model = Known(slope, scale)
    return diagnose(model, model.guide(), images(), num_images=COUNT, num_weighted=5, num_samples=400)


def test_divergence_and_variance_of_means_coordinate_by_coordinate():
    slope, scale = [2.0, 0.0], [0.5, 1.0]
    latent = run(slope, scale).latents[0]
    x = images().observe().flatten()
    means = x * slope[0]
    expected = (0.5 * (means**2 + scale[0] ** 2 - 1) - math.log(scale[0])).mean()
    assert latent.divergence == pytest.approx([float(expected), 0.0], abs=1e-6)
    assert latent.variance_of_means == pytest.approx([float(means.var()), 0.0], abs=1e-6)
    assert latent.active == 1


@pytest.mark.parametrize(("variance", "active"), [(0.0095, 0), (0.0105, 1)])
def test_a_coordinate_is_active_where_the_variance_of_its_means_exceeds_a_hundredth(variance, active):
    slope = math.sqrt(variance / float(images().observe().var()))
    latent = run([slope, 0.0], [0.5, 1.0]).latents[0]
    assert latent.variance_of_means[0] == pytest.approx(variance)
    assert latent.active == active


def test_mutual_information_of_two_kinds_of_image_is_a_bit():
    """Posteriors far apart, one for each of two equally frequent kinds of image: z tells which."""
    assert run([50.0, 0.0], [0.1, 1.0]).latents[0].mutual_information == pytest.approx(math.log(2), abs=1e-3)
    assert run([0.0, 0.0], [0.1, 1.0]).latents[0].mutual_information == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_mutual_information_is_the_entropy_of_the_mixture_less_that_of_a_posterior(distance):
    """Two kinds of image whose posteriors overlap, N(0, 1) and N(distance, 1): by quadrature."""
    few = images()
    many = Images("many", few.pixels.repeat(20, 1, 1, 1), torch.zeros(20 * COUNT), 2)
    model = Known([distance, 0.0], [1.0, 1.0])
    found = diagnose(model, model.guide(), many, 20 * COUNT, 2, 20).latents[0].mutual_information
    z = torch.linspace(-12, 12 + distance, 4001).double()
    p = sum(dist.Normal(loc, 1.0).log_prob(z).exp() for loc in (0.0, distance)) / 2
    expected = -torch.trapezoid(p * p.log(), z) - 0.5 * math.log(2 * math.pi * math.e)
    assert found == pytest.approx(float(expected), abs=0.05)


def test_bounds_and_weights_of_a_guide_whose_loss_is_known():
    """x given z is N(z_1 + z_2, 1), and so x is N(0, 3); the guide's means are 0 and its scales s."""
    s, model = 0.8, Known([0.0, 0.0], [0.8, 0.8])
    found = diagnose(model, model.guide(), images(), 50, num_weighted=COUNT, num_samples=2000)
    assert (found.num_images, found.num_weighted, found.num_samples) == (50, COUNT, 2000)
    x = images().observe().flatten()
    divergence = s**2 - 1 - 2 * math.log(s)
    elbo = -0.5 * math.log(2 * math.pi) - 0.5 * (x**2 + 2 * s**2) - divergence
    assert found.negative_elbo == pytest.approx(-float(elbo.mean()), abs=0.02)
    assert found.negative_iwae == pytest.approx(-float(dist.Normal(0.0, 3**0.5).log_prob(x).mean()), abs=0.02)
    assert found.latents[0].divergence == pytest.approx([divergence / 2] * 2, abs=1e-6)


@pytest.mark.parametrize(
    ("slope", "scale", "words"),
    [
        ([0.0, 0.0], [1.0, 1.0], "z is collapsed: 0 of 2"),
        (
            [1.0, 0.0],
            [0.5, 1.0],
            "z is 50 % used: 1 of 2 coordinates are active (variance of the posterior mean above 0.01); unused: 1",
        ),
        ([1.0, -1.0], [0.5, 0.5], "z is fully used: 2 of 2"),
    ],
)
def test_the_verdict_in_words(slope, scale, words):
    lines = run(slope, scale).verdict()
    assert lines[0].startswith(words)
    assert "Pareto k" in lines[1]


@pytest.mark.parametrize(("active", "total", "share"), [(39, 40, 98), (399, 400, 99), (1, 400, 1), (20, 40, 50)])
def test_a_latent_in_use_is_given_a_share(active, total, share):
    latent = Latent("z", [0.0] * total, [0.0] * total, active, list(range(active, total)), 2.0, 6.9)
    assert latent.verdict().startswith(f"z is {share} % used: {active} of {total} coordinates are active (")
    assert "; unused: " in latent.verdict()


def test_where_means_are_estimated_a_coordinate_is_active_by_three_standard_errors():
    """Two estimates m + e and m - e of 100 means: their covariance is var(m) - var(e), its error 2 e^2 / 10."""
    m, e = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(25), torch.tensor([1.0, -1.0]).repeat(50)
    variance = torch.tensor([0.0155, 0.0165])  # only the second exceeds 0.01 + 3 * 0.002
    means, error = m[:, None] * (0.01 + 0.99 * variance).sqrt(), 0.1 * e[:, None]
    latent = latent_record("z", None, means + error, means - error, torch.zeros(100, 2), observed=torch.zeros(100, 1))
    assert latent.variance_of_means == pytest.approx(variance.tolist(), abs=2e-4)
    assert latent.unused == [0]


def test_a_conditional_pair_is_diagnosed_given_the_labels():
    class Given(nn.Module):
        """The code is drawn around the label, the image knows nothing of it; the guide is the prior."""

        levels, num_classes = 2, 3

        def forward(self, x: Tensor, labels: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(labels[:, None].float(), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(labels[:, None, None, None].float(), 1.0).to_event(3), obs=x)

    class Prior(nn.Module):
        def forward(self, x: Tensor, labels: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(labels[:, None].float(), 1.0).to_event(1))

    data = Images("labelled", images().pixels, torch.arange(COUNT) % 3, 2, conditional=True)
    found = diagnose(Given(), Prior(), data, COUNT, COUNT, 20)
    expected = -dist.Normal(data.labels.float(), 1.0).log_prob(data.observe().flatten()).mean()
    assert found.negative_elbo == pytest.approx(float(expected), rel=1e-5)
    assert found.latents[0].variance_of_means == pytest.approx([float(data.labels.double().var())])


def test_a_coordinate_whose_means_are_unknown_is_not_active():
    means = torch.randn(100, 2)
    means[3, 1] = torch.nan
    latent = latent_record("z", None, means, means, torch.zeros(100, 2), observed=torch.zeros(100, 1))
    assert (latent.active, latent.unused) == (1, [1])


def test_programs_are_diagnosed_in_evaluation_mode_and_are_then_in_their_own_mode_again():
    model = Known([1.0, 0.0], [0.5, 1.0])
    guide = model.guide()
    modes = []
    for program in (model, guide):
        program.register_forward_pre_hook(lambda program, _: modes.append(program.training))
    diagnose(model.train(), guide.eval(), images(), 10, 2, 20)
    assert modes
    assert not any(modes)
    assert model.training
    assert not guide.training


@pytest.mark.parametrize(
    ("information", "ceiling", "at"), [(3.95, 4, True), (3.85, 4, False), (0.47, 0.5, True), (0.43, 0.5, False)]
)
def test_the_ceiling_begins_a_tenth_of_a_nat_below_the_logarithm_or_a_tenth_of_it_if_that_is_less(
    information, ceiling, at
):
    assert Latent("z", [0.0], [0.0], 1, [], information, ceiling).at_ceiling == at


def test_codes_too_far_out_for_the_inverse_of_a_guide_have_no_density_there():
    """An autoregressive guide's inverse overflows far from an image."""

    class Overflows(dist.Normal):
        def log_prob(self, value: Tensor) -> Tensor:
            near = (value - self.loc).abs() < 3
            return super().log_prob(value) + torch.where(near, 0.0, torch.nan)

    q, z = Overflows(torch.tensor([-10.0, 0.0, 10.0]), 1.0), torch.tensor([-10.5, 0.0])
    expected = dist.Normal(torch.tensor([-10.0, 0.0]), 1.0).log_prob(z) - math.log(3)
    torch.testing.assert_close(mixture_log_prob(q, z), expected)


def test_a_mutual_information_at_its_ceiling_is_called_so():
    """Of images that differ each the latent tells which: log N, and no more can be seen."""
    pixels = torch.arange(COUNT).byte()[:, None, None, None]
    each = Images("each", pixels, torch.zeros(COUNT), 256)
    model = Known([10.0, 0.0], [0.01, 1.0])
    model.levels = 256
    far = diagnose(model, model.guide(), each, COUNT, 2, 20).latents[0]
    assert far.ceiling == pytest.approx(math.log(COUNT))
    assert far.mutual_information == pytest.approx(far.ceiling, abs=1e-3)
    assert far.at_ceiling
    assert f"it tells the observations apart: {math.log(COUNT):.2f} nats or more" in far.verdict()
    near = run([50.0, 0.0], [0.1, 1.0]).latents[0]  # a bit of the log of COUNT there could be
    assert not near.at_ceiling
    assert "apart" not in near.verdict()


@pytest.mark.parametrize("dequantizer", [UniformDequantizer(4), FlowDequantizer((1, 2, 4), 4, 1, 4, 1)])
def test_a_flow_is_given_its_gap_and_no_verdict_of_collapse(dequantizer):
    pixels = torch.randint(0, 4, (30, 1, 2, 4)).byte()
    pixels[:, :, :, 0] = 0  # a border that never varies
    pixels[10] = pixels[11]
    flow = FlowModel(flip_realnvp((1, 2, 4), hidden=[4]), 4)
    diagnosis = diagnose(flow, dequantizer, Images("border", pixels, torch.zeros(30), 4), 30, 5, 50)
    latent = diagnosis.latents[0]
    assert latent.holds_image
    assert not any("collapsed:" in line or "unused" in line for line in diagnosis.verdict())
    assert latent.mutual_information == pytest.approx(math.log(30) - 2 * math.log(2) / 30)
    assert "the guide loses at least" in diagnosis.verdict()[-1]


def test_the_share_of_images_above_the_threshold_which_depends_on_the_number_of_samples():
    model = Known([0.0, 0.0], [0.3, 0.3])
    for num_samples, threshold in ((20, 1 - 1 / math.log10(20)), (1000, 2 / 3), (5000, 0.7)):
        found = diagnose(model, model.guide(), images(), 10, 40, num_samples)
        assert found.pareto_k_threshold == pytest.approx(threshold)
        above = round(40 * found.share_above_threshold)
        assert above > 0
        assert found.share_above_threshold == above / 40
        assert f"trusted for {40 - above} of 40 observations at {num_samples} samples" in found.verdict()[-1]


def test_weights_of_an_exact_guide_are_trusted_though_they_have_no_tail():
    torch.set_default_dtype(torch.float64)
    pair = LinearGaussian(1)
    for weight in (pair.weight, pair.offset):
        weight.data = weight.data.double()

    class Exact(nn.Module):
        def forward(self, x):
            return ExactGuide(pair)(x.flatten(1).double())

    class Flat(nn.Module):
        def forward(self, x):
            return pair(x.flatten(1).double())

    diagnosis = diagnose(Flat(), Exact(), images(), 10, 5, 50)
    assert diagnosis.share_above_threshold == 0
    assert diagnosis.effective_sample_share == pytest.approx(1)
    assert "can be trusted for 5 of 5 observations" in diagnosis.verdict()[-1]
    assert json.loads(json.dumps(diagnosis.as_dict(), allow_nan=False))["share_above_threshold"] == 0


def test_weights_are_equal_if_they_differ_by_rounding_alone():
    """By a hundred-thousandth of their logarithm, or of one if that is more."""
    log_w = torch.tensor([[0.5, 100.0, -100.0]]).double()
    for off, equal in ((0.9e-5, True), (1.1e-5, False)):
        assert (are_equal(torch.cat([log_w, log_w - off * torch.tensor([1.0, 100, 100])])) == equal).all()


def flow_guide(slope: float) -> FlowGuide:
    guide = FlowGuide(MLPEncoder((1, 1, 1), []), 2, couplings=1, hidden=[4])
    with torch.no_grad():
        guide.head.weight.copy_(torch.tensor([[slope], [0.0], [0.0], [0.0]]))
        guide.head.bias.copy_(torch.tensor([0.0, 0.0, 0.54, 0.54]))  # scales of one
    return guide


@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_a_guide_without_a_known_mean_is_measured_by_draws(slope):
    torch.manual_seed(0)
    few = images()
    many = Images("many", few.pixels.repeat(20, 1, 1, 1), torch.zeros(20 * COUNT), 2)
    diagnosis = diagnose(Known([0.0, 0.0], [1.0, 1.0]), flow_guide(slope), many, 1000, 2, 20)
    latent = diagnosis.latents[0]
    exact = (slope * (2 * many.observe(slice(1000)).flatten() - 1)).var()
    assert latent.variance_of_means == pytest.approx([float(exact), 0.0], rel=0.05, abs=0.02)
    assert latent.unused == ([0, 1] if slope == 0 else [1])
    assert latent.active == 2 - len(latent.unused)
    assert ("is collapsed" in diagnosis.verdict()[0]) == (slope == 0)


class Upper(nn.Module):
    """An upper latent that copies the lower one, which knows nothing of the image."""

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("z2", dist.Normal(z1, 0.1).to_event(1))


class Both(nn.Module):
    def forward(self, x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("z1", dist.Normal(z2, 0.1).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=torch.zeros(x.shape)).to_event(3), obs=x)


def test_noise_of_a_lower_latent_is_no_activity_of_the_upper_one():
    few = images()
    many = Images("many", few.pixels.repeat(1000, 1, 1, 1), torch.zeros(1000 * COUNT), 2)
    upper = diagnose(Both(), Upper(), many, 2000, 2, 20).latents[1]
    assert upper.name == "z2"
    assert abs(upper.variance_of_means[0]) < 0.1  # the means of one draw alone vary by 1


def test_the_share_of_samples_of_equal_and_of_lone_weights():
    assert effective_sample_share(torch.full((50, 3), -700.0)).tolist() == pytest.approx([1.0] * 3)
    lone = torch.full((50, 1), -1000.0)
    lone[7] = 0.0
    assert float(effective_sample_share(lone)) == pytest.approx(1 / 50)
    two = torch.tensor([[0.0], [0.0], [-1000.0], [-1000.0]])
    assert float(effective_sample_share(two)) == pytest.approx(0.5)


def test_the_share_of_samples_is_the_squared_sum_over_the_sum_of_squares():
    """Of weights 1 to 4 it is 100 / 30 of 4; their entropy, or their largest share, would give another number."""
    w = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    log_w = w.log()[:, None] + torch.tensor([0.0, -700.0, 900.0])  # whatever the evidence
    assert effective_sample_share(log_w).tolist() == pytest.approx([10**2 / (4 * 30)] * 3)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_pareto_k_of_pareto_weights(k):
    """exp(k E) with E exponential has a Pareto tail of shape k."""
    torch.manual_seed(0)
    log_w = k * dist.Exponential(1.0).sample((20_000, 4)) + 300
    assert pareto_k(log_w).mean().item() == pytest.approx(k, abs=0.1)


def exponential(n: int) -> Tensor:
    return -torch.log1p(-(torch.arange(n, dtype=torch.float64) + 0.5) / n)


@pytest.mark.parametrize(
    ("log_w", "expected"),
    [
        (0.5 * exponential(20), math.inf),
        (0.5 * exponential(24), 0.502247284039124),  # 4.8 rounded up
        (0.5 * exponential(26), 0.44020579938987175),
        (0.9 * exponential(1000), 0.8442664334030683),
        (3 * torch.arange(230.0, dtype=torch.float64).sin(), -1.192981889737892),
        ((2 * exponential(400)).round(), 1.31458264498812),  # many that are equal
        ((8 * exponential(101)).round() / 2, 2.5467497742340024),
        (torch.full((50,), 3.0), math.inf),
        (torch.cat([torch.full((49,), -1000.0), torch.zeros(1)]), math.inf),
        (torch.arange(60.0) % 2, math.inf),
        (torch.full((50,), -math.inf), math.inf),
    ],
)
def test_pareto_k_is_that_of_arviz(log_w, expected):
    """By arviz.psislw of ArviZ 0.23; in its order of the weights or another, whatever their size."""
    shifted = torch.stack([log_w, log_w.flip(0), log_w - 700, log_w + 700], dim=1)
    assert pareto_k(shifted).tolist() == pytest.approx([expected] * 4, rel=1e-5)


def test_gap_is_the_difference_of_the_bounds():
    diagnosis = run([1.0, 1.0], [0.3, 0.3])
    assert diagnosis.gap == pytest.approx(diagnosis.negative_elbo - diagnosis.negative_iwae)
    assert diagnosis.gap > 0
    assert 0 < diagnosis.effective_sample_share < 1


def test_ranges():
    assert _ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


@pytest.mark.parametrize("bad", [{"num_images": 0}, {"num_weighted": 0}, {"num_samples": 19}])
def test_bad_numbers_are_told(bad):
    model = Known([1.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="at least"):
        diagnose(model, model.guide(), images(), **bad)
