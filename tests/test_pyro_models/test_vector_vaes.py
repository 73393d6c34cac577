"""VAEs of vectors: every guide with every prior, and the Gaussian likelihood."""

import math

import pyro.distributions as dist
import pytest
import torch
from conftest import randomise
from pyro.infer import Predictive, Trace_ELBO
from test_combinations import DIM, GUIDES, PAIRS
from test_combinations import PRIORS as PRIORS_OF_IMAGES
from torch import nn

from inference import iwae_bound, log_weights
from pyro_models import (
    VAE,
    AutoregressivePixels,
    BernoulliPixels,
    CategoricalPixels,
    ConvDecoder,
    ConvEncoder,
    FlowDequantizer,
    FlowPrior,
    GaussianVectors,
    LogisticPixels,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    StandardNormal,
    TopDownGuide,
    TwoLevelGuide,
    TwoLevelVAE,
    VampPrior,
)

pytestmark = pytest.mark.usefixtures("float64")

SIZE, DRAWS, CLASSES = 4, 5000, 3
SHAPE = (SIZE,)
PRIORS = {**PRIORS_OF_IMAGES, "vamp": lambda guide: VampPrior(guide, SHAPE, 4, levels=None)}


def encoder(**options) -> nn.Module:
    return MLPEncoder(SHAPE, [8], levels=None, **options)


def vae(prior: nn.Module, likelihood: nn.Module, **options) -> VAE:
    decoder = MLPDecoder(DIM, SHAPE, [8], per_pixel=likelihood.per_pixel, context=options.get("num_classes", 0))
    return VAE(prior, decoder, likelihood, **options)


def make_pair(prior: str, guide: str) -> tuple[VAE, nn.Module]:
    """One where the decoder also gives the scale, for every second prior."""
    likelihood = GaussianVectors(SHAPE, scale_from_decoder=list(PRIORS).index(prior) % 2 == 1)
    if guide == "semi-amortised":
        model = vae(PRIORS[prior](None), likelihood)
        return randomise(model), randomise(GUIDES[guide](encoder(), model))
    q = GUIDES[guide](encoder(), None)
    return randomise(vae(PRIORS[prior](q), likelihood)), randomise(q)


def two_levels(guide: type, prior: str, skip: bool, **options: int) -> tuple[TwoLevelVAE, nn.Module]:
    q = guide(encoder(), DIM, 2, hidden=[8], **options)
    priors = {
        "normal": lambda: StandardNormal(2),
        "flow": lambda: FlowPrior(2, 2, [8]),
        "vamp": lambda: VampPrior(q, SHAPE, 4, levels=None),
    }
    decoder = MLPDecoder(DIM + 2 * skip, SHAPE, [8])
    model = TwoLevelVAE(priors[prior](), decoder, DIM, 2, GaussianVectors(SHAPE), [8], skip=skip)
    return randomise(model), randomise(q)


CASES = {", ".join(names): lambda names=names: make_pair(*names) for names in PAIRS} | {
    "bottom up": lambda: two_levels(TwoLevelGuide, "normal", False),
    "top down, skip": lambda: two_levels(TopDownGuide, "flow", True),
    "top down, skip, vamp": lambda: two_levels(TopDownGuide, "vamp", True),
    "top down, flows, vamp": lambda: two_levels(TopDownGuide, "vamp", True, couplings=2),
}


def evidence_by_the_prior(model: VAE, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """p(x) as the mean of p(x | z) over draws of the prior, and its standard error."""
    with torch.no_grad():
        z = model.code().sample([DRAWS])
        if isinstance(model, TwoLevelVAE):
            loc, raw = model.down(z)
            lower = dist.Normal(loc, (nn.functional.softplus(raw) + 1e-8).sqrt()).sample()
            z = torch.cat([lower, z], -1) if model.skip else lower
        p = model.image(z[:, None]).log_prob(x).exp()
    return p.mean(0), p.std(0) / DRAWS**0.5


@pytest.mark.parametrize("case", CASES)
def test_the_evidence_is_that_of_the_model_alone_and_gradients_reach_all(case):
    """A density left out of the guide's weights, or counted twice, would show here."""
    model, guide = (randomise(half, 0.15) for half in CASES[case]())
    with torch.no_grad():
        guide.head.bias[guide.latent_dim : 2 * guide.latent_dim] += (
            2  # wider than the prior: weights without heavy tails
        )
    x = 0.5 * torch.randn(3, SIZE)
    log_w = log_weights(model, guide, x, 2000)
    assert log_w.shape == (2000, 3)
    expected, error = evidence_by_the_prior(model, x)
    found = log_w.exp()
    tolerance = 5 * (error**2 + found.var(0) / len(found)).sqrt()
    assert (tolerance < 0.3 * expected).all()
    assert ((found.mean(0) - expected).abs() < tolerance).all()
    assert iwae_bound(log_w, 1).mean() < iwae_bound(log_w, 5).mean() < iwae_bound(log_w, 50).mean()
    Trace_ELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1).differentiable_loss(
        model, guide, x
    ).backward()
    for name, parameter in (*model.named_parameters(), *guide.named_parameters()):
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert getattr(model, "levels", "none") == "none"
    assert not hasattr(model, "levels")


def test_labels_reach_both_halves():
    model = randomise(vae(StandardNormal(DIM), GaussianVectors(SHAPE), num_classes=CLASSES))
    guide = randomise(MeanFieldGuide(encoder(context=CLASSES), DIM, CLASSES))
    x, labels = torch.zeros(CLASSES, SIZE), torch.arange(CLASSES)
    assert len(guide.posterior(x, labels).mean[:, 0].unique()) == CLASSES
    assert len(model.image(torch.zeros(CLASSES, DIM), labels).mean[:, 0].unique()) == CLASSES
    assert model(None, labels).shape == (CLASSES, SIZE)


@pytest.mark.parametrize("scale_from_decoder", [False, True])
def test_the_likelihood_is_a_gaussian_with_a_floor_under_its_scale(scale_from_decoder):
    likelihood = randomise(GaussianVectors((3,), scale_from_decoder, min_scale=0.2), 1.0)
    raw = torch.randn(5, 7, 3, 2) if scale_from_decoder else torch.randn(5, 7, 3)
    mean, log_scale = raw.unbind(-1) if scale_from_decoder else (raw, likelihood.log_scale)
    p, x = likelihood(raw), torch.randn(5, 7, 3)
    scale = 0.2 + log_scale.exp()
    exact = -((x - mean) ** 2 / scale**2 + 2 * scale.log() + math.log(2 * math.pi)).sum(-1) / 2
    torch.testing.assert_close(p.log_prob(x), exact)
    assert (p.batch_shape, p.event_shape) == ((5, 7), (3,))
    torch.testing.assert_close(p.mean, mean)
    assert {name for name, _ in likelihood.named_parameters()} == (set() if scale_from_decoder else {"log_scale"})


@pytest.mark.parametrize("raw", [-1e4, -100.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_densities_and_gradients_are_finite_however_far_the_decoder_goes(raw, dtype):
    numbers = torch.tensor([[0.5, raw]], dtype=dtype).requires_grad_()
    log_p = GaussianVectors((1,), scale_from_decoder=True)(numbers).log_prob(torch.tensor([[0.6]], dtype=dtype))
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert numbers.grad.isfinite().all()


def test_draws_have_the_frequencies_of_the_model():
    """With an affine decoder x is Gaussian: N(b, W W^T + diag scale^2)."""
    model = randomise(VAE(StandardNormal(2), MLPDecoder(2, (3,), []), GaussianVectors((3,))), 0.7)
    drawn = Predictive(model, num_samples=2)(batch=10_000)["x"].flatten(0, 1)
    weight, bias = model.decoder.net.out.weight.detach(), model.decoder.net.out.bias.detach()
    covariance = weight @ weight.T + (0.01 + model.likelihood.log_scale.detach().exp()).square().diag()
    exact = dist.MultivariateNormal(bias, covariance)
    for i in range(3):
        marginal = dist.Normal(bias[i], covariance[i, i].sqrt())
        for edge in (-1.0, 0.0, 0.5):
            expected = float(marginal.cdf(torch.tensor(edge)))
            assert float((drawn[:, i] < edge).double().mean()) == pytest.approx(expected, abs=0.02)
    torch.testing.assert_close(torch.cov(drawn.T), covariance, rtol=0.1, atol=0.1)
    x = drawn[:3]
    guide = randomise(MeanFieldGuide(MLPEncoder((3,), [8], levels=None), 2), 0.1)
    bound = iwae_bound(log_weights(model, guide, x, 20_000), 20_000)
    torch.testing.assert_close(bound, exact.log_prob(x), rtol=0, atol=0.1)


def test_without_levels_the_encoder_and_the_pseudo_inputs_take_real_numbers_as_they_are():
    x, net = 10 * torch.randn(5, SIZE), encoder()
    torch.testing.assert_close(net(x), net.net(x))
    of_pixels = MLPEncoder(SHAPE, [8], levels=5)
    of_pixels.load_state_dict(net.state_dict())
    torch.testing.assert_close(of_pixels(x), net(x / 2 - 1))
    seen = []
    guide = MeanFieldGuide(net, DIM)
    guide.posterior = lambda u: seen.append(u) or dist.Normal(torch.zeros(len(u), DIM), 1.0).to_event(1)
    prior = VampPrior(guide, SHAPE, 500, levels=None)
    prior()
    assert seen[0] is prior.pseudo
    torch.testing.assert_close(seen[0].detach().mean(), torch.tensor(0.0), rtol=0, atol=0.1)
    VampPrior(guide, SHAPE, 500, levels=5)()
    assert 0 < seen[1].min() < seen[1].max() < 4


@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 2, 5)])  # with particles one could take codes for pixels
@pytest.mark.parametrize(
    "likelihood", [BernoulliPixels(), CategoricalPixels(3), LogisticPixels(3)], ids=lambda part: type(part).__name__
)
def test_likelihoods_of_pixels_refuse_vectors(likelihood, leading):
    with pytest.raises(ValueError, match=f"{type(likelihood).__name__}.*GaussianVectors") as error:
        vae(StandardNormal(DIM), likelihood).image(torch.zeros(*leading, DIM))
    assert "\n" not in str(error.value)


MISTAKES = {
    "ConvEncoder": (lambda: ConvEncoder(SHAPE), r"must be \(C, H, W\).*got \(4,\).*MLPEncoder"),
    "ConvDecoder": (lambda: ConvDecoder(2, SHAPE), r"must be \(C, H, W\).*got \(4,\).*MLPDecoder"),
    "AutoregressivePixels": (lambda: AutoregressivePixels(SHAPE), r"must be \(C, H, W\).*got \(4,\).*GaussianVectors"),
    "FlowDequantizer": (lambda: FlowDequantizer(SHAPE, 4), r"must be \(C, H, W\).*got \(4,\)"),
    "two sides": (lambda: MLPEncoder((2, 2)), r"\(C, H, W\), or \(D,\) for vectors"),
    "no coordinates": (lambda: MLPDecoder(2, (0,)), "at least 1"),
    "no shape": (lambda: VampPrior(MeanFieldGuide(encoder(), 2), ()), r"\(D,\) for vectors"),
    "images": (lambda: GaussianVectors((1, 2, 2)), r"\(D,\); got \(1, 2, 2\)"),
    "no floor": (lambda: GaussianVectors(SHAPE, min_scale=0.0), "min_scale must be a positive number"),
    "one number too few": (lambda: GaussianVectors(SHAPE, True)(torch.zeros(5, SIZE)), r"\(\*, 4, 2\).*per_pixel=2"),
    "another size": (lambda: GaussianVectors(SHAPE)(torch.zeros(5, 3)), r"\(\*, 4\); got \(5, 3\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake):
    make, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
