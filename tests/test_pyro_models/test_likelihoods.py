"""Likelihoods of integer pixels, and models that use them, with labels and without."""

import itertools

import pytest
import torch
from conftest import randomise
from pyro.infer import Predictive

from inference import iwae_bound, log_weights
from pyro_models import (
    VAE,
    AutoregressivePixels,
    BernoulliImage,
    BernoulliPixels,
    CategoricalPixels,
    ClassNormal,
    ConvDecoder,
    ConvEncoder,
    DiscretizedLogistic,
    FlowPrior,
    LogisticPixels,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    SemiAmortizedGuide,
    StandardNormal,
)

SHAPE = (2, 5, 6)
LIKELIHOODS = {
    "Bernoulli": lambda: BernoulliPixels(),
    "categorical": lambda: CategoricalPixels(7),
    "logistic": lambda: LogisticPixels(7),
}
DECODERS = {
    "perceptron": lambda **options: MLPDecoder(3, SHAPE, [8], **options),
    "convolutions": lambda **options: ConvDecoder(3, SHAPE, 4, **options),
}
ENCODERS = {
    "perceptron": lambda **options: MLPEncoder(SHAPE, [8], **options),
    "convolutions": lambda **options: ConvEncoder(SHAPE, 4, features=8, **options),
}


@pytest.fixture(params=LIKELIHOODS)
def likelihood(request):
    return LIKELIHOODS[request.param]()


@pytest.mark.usefixtures("float64")
def test_probabilities_of_all_levels_sum_to_one(likelihood):
    shape = (50, 1, 1, 1) if likelihood.per_pixel == 1 else (50, 1, 1, 1, likelihood.per_pixel)
    p = likelihood(3 * torch.randn(shape))
    assert p.event_shape == (1, 1, 1)
    total = sum(p.log_prob(torch.full((50, 1, 1, 1), float(level))).exp() for level in range(likelihood.levels))
    torch.testing.assert_close(total, torch.ones(50))


@pytest.mark.usefixtures("float64")
def test_draws_are_as_frequent_as_their_probability(likelihood):
    shape = (4, 1, 1, 1) if likelihood.per_pixel == 1 else (4, 1, 1, 1, likelihood.per_pixel)
    p = likelihood(torch.randn(shape))
    draws = p.sample(torch.Size([20_000]))
    assert draws.shape == (20_000, 4, 1, 1, 1)
    for level in range(likelihood.levels):
        expected = p.log_prob(torch.full((4, 1, 1, 1), float(level))).exp()
        frequency = (draws == level).double().mean(0).flatten()
        assert ((frequency - expected).abs() < 5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-9).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("options", [{}, {"sight": 2}, {"hidden": [12, 12]}, {"sight": 3, "hidden": [9]}])
def test_pixels_see_those_before_them_and_draws_follow_the_density(options):
    likelihood = AutoregressivePixels((1, 2, 3), **options).eval()
    randomise(likelihood, 1.0)
    p = likelihood(torch.randn(1, 2, 3))
    assert (p.batch_shape, p.event_shape) == ((), (1, 2, 3))
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6))).reshape(-1, 1, 2, 3)
    probabilities = p.log_prob(images).exp()
    torch.testing.assert_close(probabilities.sum(), torch.ones(()))

    seen = torch.autograd.functional.jacobian(likelihood.logit_shift, images[37]).reshape(6, 6) != 0
    distance = torch.arange(6)[:, None] - torch.arange(6)
    assert torch.equal(seen, (distance > 0) & (distance <= options.get("sight", 6)))

    draws = p.sample(torch.Size([20_000])).flatten(1) @ 2.0 ** torch.arange(5, -1, -1)
    frequency = torch.bincount(draws.long(), minlength=64) / len(draws)
    torch.testing.assert_close(frequency, probabilities, rtol=0, atol=0.015)


def test_an_autoregressive_pair():
    model = randomise(VAE(StandardNormal(3), MLPDecoder(3, SHAPE, [8]), AutoregressivePixels(SHAPE)), 0.2)
    guide = randomise(MeanFieldGuide(MLPEncoder(SHAPE, [8]), 3), 0.2)
    x = torch.rand(6, *SHAPE).round()
    assert model.train().image(torch.zeros(6, 3)).log_prob(x).shape == (6,)
    log_w = log_weights(model.eval(), guide, x, 200)
    assert iwae_bound(log_w, 1).mean() < iwae_bound(log_w, 30).mean() < 0
    drawn = Predictive(model, num_samples=2)(None, batch=3)["x"]
    assert drawn.shape == (2, 3, *SHAPE)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scale", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("loc", [-2.0, 0.3, 5.0])
def test_logistic_cells_are_differences_of_the_distribution_function(loc, scale):
    p = DiscretizedLogistic(torch.tensor(loc), torch.tensor(scale), 8)
    x = torch.arange(8.0)
    edges = torch.sigmoid((torch.arange(9.0) / 8 - loc) / scale)
    edges[0], edges[-1] = 0, 1
    torch.testing.assert_close(p.log_prob(x).exp(), edges.diff(), rtol=1e-6, atol=1e-12)
    assert torch.isfinite(p.log_prob(x)).all()  # also where the difference underflows
    draws = p.sample(torch.Size([20_000]))
    frequency = torch.stack([(draws == k).double().mean() for k in range(8)])
    torch.testing.assert_close(frequency, edges.diff(), rtol=0, atol=0.02)


@pytest.mark.parametrize("log_scale", [-1000.0, -9.0, 9.0, 1000.0])
def test_logistic_pixels_of_any_log_scale_have_gradients(log_scale):
    raw = torch.tensor([0.1, log_scale]).repeat(256, 1, 1, 1, 1).requires_grad_()
    log_p = LogisticPixels(256)(raw).log_prob(torch.arange(256.0).reshape(256, 1, 1, 1))
    log_p.sum().backward()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-3)
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_pair_of_any_networks_and_pixels(likelihood, encoder, decoder):
    model = randomise(VAE(StandardNormal(3), DECODERS[decoder](per_pixel=likelihood.per_pixel), likelihood), 0.2)
    guide = randomise(MeanFieldGuide(ENCODERS[encoder](levels=likelihood.levels), 3), 0.2)
    assert model.levels == likelihood.levels
    x = torch.randint(0, likelihood.levels, (6, *SHAPE)).float()
    log_w = log_weights(model, guide, x, 30)
    assert iwae_bound(log_w, 1).mean() < iwae_bound(log_w, 30).mean() < 0
    drawn = Predictive(model, num_samples=2)(None, batch=3)["x"]
    assert drawn.shape == (2, 3, *SHAPE)
    assert torch.equal(drawn, drawn.round())
    assert 0 <= drawn.min() <= drawn.max() < likelihood.levels
    assert model.image(torch.zeros(4, 3)).mean.shape == (4, *SHAPE)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    "prior", [lambda: StandardNormal(3), lambda: ClassNormal(3, 4), lambda: FlowPrior(3, 2, [8], context=4)]
)
def test_a_conditional_pair_depends_on_its_labels(prior, encoder, decoder):
    model = randomise(VAE(prior(), DECODERS[decoder](context=4), num_classes=4), 0.5).eval()
    guide = randomise(MeanFieldGuide(ENCODERS[encoder](context=4), 3, num_classes=4), 0.5).eval()
    x, labels = torch.rand(1, *SHAPE).round().expand(4, *SHAPE), torch.arange(4)
    for values in (model.image(torch.zeros(4, 3), labels).mean, guide.posterior(x, labels).mean):
        assert (values[1:] - values[0]).flatten(1).abs().amax(1).min() > 1e-4
    if not isinstance(model.prior, StandardNormal):
        z = torch.zeros(4, 3)
        assert model.code(labels).log_prob(z).std() > 1e-3
    bounds = iwae_bound(log_weights(model, guide, x, 40, labels=labels), 40)
    assert bounds.shape == (4,)
    assert model(None, labels).shape == (4, *SHAPE)
    with pytest.raises(ValueError, match="takes labels from 0 to 3"):
        model(x)
    with pytest.raises(ValueError, match="takes labels from 0 to 3"):
        guide(x)


def test_gradient_steps_bring_the_guide_nearer():
    torch.manual_seed(0)
    model = randomise(VAE(StandardNormal(3), MLPDecoder(3, SHAPE, [8])), 1.0)
    encoder = randomise(MLPEncoder(SHAPE, [8]), 0.2)
    x = torch.rand(30, *SHAPE).round()
    bounds = []
    for steps in (0, 5, 40):
        guide = SemiAmortizedGuide(encoder, 3, model, steps=steps, lr=0.1)
        torch.manual_seed(1)
        randomise(guide.head, 0.2)
        bounds.append(float(iwae_bound(log_weights(model, guide, x, 50), 1).mean()))
    assert bounds[0] + 0.5 < bounds[1] < bounds[2]
    assert not any("model" in name for name, _ in guide.named_parameters())


def test_noise_and_dropout_are_of_training_alone():
    x, z = torch.rand(5, *SHAPE).round(), torch.randn(5, 3)
    for network, value in ((MLPEncoder(SHAPE, [8], noise=0.5), x), (MLPDecoder(3, SHAPE, [8], latent_dropout=0.5), z)):
        network.train()
        assert not torch.equal(network(value), network(value))
        network.eval()
        assert torch.equal(network(value), network(value))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CategoricalPixels(1), "levels"),
        (lambda: LogisticPixels(2.5), "levels"),
        (lambda: MLPEncoder(SHAPE, noise=-1.0), "noise"),
        (lambda: ConvEncoder(SHAPE, 0), "channels"),
        (lambda: ConvDecoder(3, SHAPE, stages=0), "stages"),
        (lambda: MLPDecoder(3, SHAPE, latent_dropout=1.0), "latent_dropout"),
        (lambda: ClassNormal(3), "conditional"),
        (lambda: FlowPrior(1), "at least 2"),
        (lambda: AutoregressivePixels((1, 1, 1)), "an image of one pixel has no earlier ones"),
        (lambda: AutoregressivePixels((1, 4, 4), hidden=[16, 15]), "at least as wide as the image, 16"),
    ],
)
def test_bad_arguments_are_told(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_old_names_work_with_a_warning():
    logits = torch.randn(2, *SHAPE)
    with pytest.warns(DeprecationWarning, match="use logits"):
        assert BernoulliImage(logits).raw is logits
    likelihood = AutoregressivePixels(SHAPE)
    x = torch.rand(2, *SHAPE).round()
    with pytest.warns(DeprecationWarning, match="use logit_shift"):
        assert torch.equal(likelihood.logits(x), likelihood.logit_shift(x))
