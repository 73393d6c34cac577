"""Pixels that see their neighbours: laws of the network, of the distribution and of pairs that use it."""

import itertools
import math

import pyro
import pytest
import torch
from conftest import described_vae, randomise
from pyro.infer import Predictive
from torch.autograd.functional import jacobian

from inference import (
    CompiledELBO,
    ELBOWithTerms,
    Images,
    Run,
    Settings,
    Trace_ELBO,
    build,
    fit,
    iwae_bound,
    load,
    log_weights,
    set_seed,
)
from inference.compilation.weigher import Weigher
from inference.figures.drawing import shown
from pyro_models import (
    VAE,
    AutoregressiveBernoulli,
    AutoregressivePixels,
    BernoulliPixels,
    ConvDecoder,
    ConvEncoder,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    PixelCNNPixels,
    StandardNormal,
)

pytestmark = pytest.mark.usefixtures("float64")

NETWORKS = {
    "local": {"sight": 1},
    "wider": {"sight": 2, "blocks": 1},
    "affine": {"sight": 2, "blocks": 0},
    "deep": {"sight": 3, "convolutions": 2, "blocks": 1},
    "all": {"sight": 9},
}


def likelihood_of(shape, **options) -> PixelCNNPixels:
    return randomise(PixelCNNPixels(shape, channels=6, **options), 0.6).eval()


def pair(shape=(1, 4, 4), **options):
    model = VAE(StandardNormal(3), MLPDecoder(3, shape, [8]), PixelCNNPixels(shape, channels=6, **options))
    return randomise(model, 0.4).eval(), randomise(MeanFieldGuide(MLPEncoder(shape, [8]), 3), 0.4).eval()


def all_images(shape) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=math.prod(shape)))).reshape(-1, *shape)


def in_sight(shape, sight: int) -> torch.Tensor:
    """Which pixel (row) may see which (column), by the words of the docstring."""
    places = list(itertools.product(*map(range, shape)))
    seen = torch.zeros(len(places), len(places), dtype=torch.bool)
    for (a, (c, i, j)), (b, (d, k, m)) in itertools.product(enumerate(places), repeat=2):
        above = i - sight <= k < i and abs(m - j) <= sight
        left = k == i and j - sight <= m < j
        seen[a, b] = above or left or ((k, m) == (i, j) and d < c)
    return seen


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 5, 6), (2, 4, 5), (3, 1, 4), (1, 5, 1)], ids=str)
def test_pixels_see_what_is_in_sight_and_nothing_else(shape, name):
    likelihood = likelihood_of(shape, **NETWORKS[name])
    size = math.prod(shape)
    seen = torch.zeros(size, size)
    for _ in range(20):  # ReLU cuts a path off at some images
        x = torch.randn(shape)
        seen += jacobian(likelihood.logit_shift, x).reshape(size, size).abs()
    assert torch.equal(seen > 0, in_sight(shape, NETWORKS[name]["sight"]))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 2, 2)], ids=str)
def test_the_probabilities_of_all_images_sum_to_one_whatever_the_code(shape, name):
    model, _ = pair(shape, **NETWORKS[name])
    with torch.no_grad():
        total = model.image(torch.randn(5, 1, 3)).log_prob(all_images(shape)).exp().sum(-1)
    torch.testing.assert_close(total, torch.ones(5))


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 1, 2), (1, 3, 3)], ids=str)
def test_draws_are_as_frequent_as_their_probability(shape):
    p = likelihood_of(shape, sight=2)(torch.randn(shape))
    assert (p.batch_shape, p.event_shape, p.event_dim) == ((), shape, 3)
    size, count = math.prod(shape), 40_000
    draws = p.sample(torch.Size([count])).flatten(1) @ 2.0 ** torch.arange(size - 1, -1, -1)
    frequency = torch.bincount(draws.long(), minlength=2**size) / count
    expected = p.log_prob(all_images(shape)).exp().detach()
    assert ((frequency - expected).abs() < 5 * (expected * (1 - expected) / count).sqrt() + 1e-4).all()


def one_by_one(p: AutoregressiveBernoulli, noise: torch.Tensor, by_channel: bool) -> torch.Tensor:
    """A draw for given noise, a pixel after the other."""
    x = torch.zeros_like(noise)
    channels, rows, columns = map(range, p.event_shape)
    in_turn = itertools.product(channels, rows, columns)
    for c, i, j in in_turn if by_channel else sorted(in_turn, key=lambda place: (*place[1:], place[0])):
        x[..., c, i, j] = (noise < p.conditional_logits(x).sigmoid())[..., c, i, j].to(x)
    return x


@pytest.mark.parametrize("name", [*NETWORKS, "perceptron"])
@pytest.mark.parametrize("shape", [(1, 6, 5), (2, 3, 4)], ids=str)
def test_draws_are_those_of_one_pixel_after_the_other(shape, name):
    by_channel = name == "perceptron"
    likelihood = randomise(AutoregressivePixels(shape), 1.0) if by_channel else likelihood_of(shape, **NETWORKS[name])
    p = likelihood(3 * torch.randn(7, *shape))
    pyro.set_rng_seed(3)
    drawn = p.sample(torch.Size([5]))
    pyro.set_rng_seed(3)
    assert torch.equal(drawn, one_by_one(p, torch.rand(5, 7, *shape), by_channel).detach())
    assert 0.02 < drawn.mean() < 0.98


def test_draws_take_few_passes():
    calls = []
    likelihood = randomise(PixelCNNPixels((1, 20, 20), sight=2, channels=6), 0.3)
    likelihood.net.register_forward_hook(lambda *_: calls.append(1))
    likelihood(torch.randn(3, 1, 20, 20)).sample()
    assert len(calls) < 100


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 3)], ids=str)
def test_leading_dimensions(shape):
    likelihood = likelihood_of(shape, sight=3, convolutions=2)
    x = torch.rand(2, 3, *shape).round()
    h = likelihood.logit_shift(x)
    assert h.shape == x.shape
    torch.testing.assert_close(h[1, 2], likelihood.logit_shift(x[1, 2]))
    assert likelihood.logit_shift(x[:0]).shape == (0, 3, *shape)


def test_it_starts_as_independent_pixels():
    raw, x = torch.randn(5, 1, 4, 4), torch.rand(5, 1, 4, 4).round()
    likelihood = PixelCNNPixels((1, 4, 4))
    torch.testing.assert_close(likelihood(raw).log_prob(x), BernoulliPixels()(raw).log_prob(x))
    loss = -likelihood(raw).log_prob(x).sum()
    loss.backward()
    assert likelihood.net.out.weight.grad.abs().min() > 0  # and leaves it at the first step


def shift_by_hand(likelihood: PixelCNNPixels, x: torch.Tensor) -> torch.Tensor:
    """h(x) of one image of one channel, pixel by pixel, for a network without further convolutions."""
    net, (height, width) = likelihood.net, x.shape[1:]
    found = torch.zeros(height, width)
    reach = net.sight
    of_above = net.above.weight.unflatten(1, (reach, -1))
    for i, j in itertools.product(range(height), range(width)):
        h = net.left.bias.clone()
        for k, m in itertools.product(range(height), range(width)):
            value = 2 * x[0, k, m] - 1
            if i - reach <= k < i and abs(m - j) <= reach:
                h += value * of_above[:, k - i + reach, m - j + reach]
            if k == i and j - reach <= m < j:
                h += value * net.left.weight[:, m - j + reach]
        for block in net.blocks:
            inner = block.first.weight @ h.clamp(min=0) + block.first.bias
            h = h + block.second.weight @ inner.clamp(min=0) + block.second.bias
        found[i, j] = net.out.weight[0] @ h.clamp(min=0) + net.out.bias[0]
    return found[None]


def test_importance_weights_are_those_computed_by_hand(monkeypatch):
    model, guide = pair(sight=2)
    x = torch.rand(6, 1, 4, 4).round()
    drawn = []
    original = torch.distributions.Normal.rsample
    monkeypatch.setattr(
        torch.distributions.Normal, "rsample", lambda q, *shape: drawn.append(original(q, *shape)) or drawn[-1]
    )
    log_w = log_weights(model, guide, x, 50)
    z, q = drawn[-1], guide.posterior(x)
    with torch.no_grad():
        logits = model.decoder(z) + torch.stack([shift_by_hand(model.likelihood, image) for image in x])
        log_p = torch.distributions.Bernoulli(logits=logits).log_prob(x.expand_as(logits)).sum((-3, -2, -1))
        log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        torch.testing.assert_close(log_w, log_p + log_prior - q.log_prob(z))
    assert iwae_bound(log_w, 1).mean() < iwae_bound(log_w, 50).mean()


def test_neighbours_are_seen_once_for_an_image_however_many_codes_are_weighed():
    model, guide = pair()
    seen = []
    model.likelihood.net.register_forward_hook(lambda _, given, __: seen.append(given[0].numel() // 16))
    log_weights(model, guide, torch.zeros(3, 1, 4, 4), 2)  # which checks the pair, once
    seen.clear()
    log_weights(model, guide, torch.zeros(3, 1, 4, 4), 1000)
    assert seen == [3]


@pytest.mark.parametrize("options", [{"sight": 2}, {"sight": 3, "convolutions": 2}], ids=str)
def test_compiled_is_eager(options):
    model = VAE(StandardNormal(3), ConvDecoder(3, (1, 4, 4), 2), PixelCNNPixels((1, 4, 4), channels=4, **options))
    objective = ELBOWithTerms(
        Trace_ELBO(), randomise(model), randomise(MeanFieldGuide(ConvEncoder((1, 4, 4), 2, features=4), 3))
    )
    x, results = torch.rand(6, 1, 4, 4).round(), []
    compiled = CompiledELBO(objective, backend="eager").train()
    with pyro.validation_enabled(False):
        for module in (compiled, objective):
            set_seed(1)
            module.zero_grad()
            loss, terms = module(x)
            loss.backward()
            results.append((loss, tuple(terms), {name: p.grad for name, p in objective.named_parameters()}))
    assert compiled._compiler.graph is not None
    torch.testing.assert_close(*results)


def test_compiled_importance_weights_are_the_eager_ones(monkeypatch):
    monkeypatch.setattr("inference.compilation.weigher._WORTH_COMPILING", 0)
    model, guide = pair()
    x, weigh = torch.rand(3, 1, 4, 4).round(), Weigher(model, guide, 60, backend="eager")
    set_seed(1)
    compiled = weigh(20, x)
    set_seed(1)
    torch.testing.assert_close(compiled, log_weights(model, guide, x, 20))


@pytest.mark.parametrize("options", [{}, {"sight": 2, "convolutions": 1, "blocks": 0}], ids=str)
def test_a_run_folder_keeps_it(tmp_path, options):
    torch.set_default_dtype(torch.float32)  # that of images
    described = described_vae((1, 4, 4), [5])
    arguments = {"image_shape": [1, 4, 4], "channels": 3, **options}
    likelihood = {"class_path": "pyro_models.PixelCNNPixels", "init_args": arguments}
    described["model"]["init_args"]["likelihood"] = likelihood
    parts = build(described)
    model, guide = (randomise(parts[name]) for name in ("model", "guide"))
    pixels = torch.randint(0, 2, (8, 1, 4, 4)).byte()
    images = Images("bits", pixels, torch.zeros(8).long(), 2, "static")
    run = Run.create(tmp_path / "run", {}, described)
    fit(model, guide, images, images, Settings(epochs=1, batch_size=4, device="cpu", compile="off"), run=run)
    again = load(tmp_path / "run")
    kept, found = model.state_dict(), again.model.state_dict()
    assert list(kept) == list(found)
    assert all(torch.equal(kept[name], found[name]) for name in kept)


def test_what_is_drawn_from_a_pair_is_images():
    model, guide = pair()
    x = torch.rand(4, 1, 4, 4).round()
    assert model(batch=5).shape == (5, 1, 4, 4)
    codes = guide.posterior(x).sample([6])
    again = Predictive(model, {"z": codes}, return_sites=["x"])(None, batch=4)["x"]  # posterior predictive
    assert again.shape == (6, 4, 1, 4, 4)
    assert set(again.unique().tolist()) == {0.0, 1.0}
    given = pyro.poutine.trace(pyro.condition(model, {"x": x})).get_trace(None, batch=4)
    assert torch.equal(given.nodes["x"]["value"], x)
    p = model.image(torch.zeros(2, 3))
    with pytest.raises(NotImplementedError, match="no closed form"):
        _ = p.mean
    assert set(shown(p).unique().tolist()) <= {0.0, 1.0}  # so figures show a draw


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PixelCNNPixels((1, 4, 4), sight=0), "sight must be at least 1"),
        (lambda: PixelCNNPixels((1, 4, 4), channels=0), "channels must be at least 1"),
        (lambda: PixelCNNPixels((1, 4, 4), blocks=-1), "blocks must be at least 0"),
        (lambda: PixelCNNPixels((1, 4, 4), convolutions=3), "fewer than the pixels in sight, 3; got 3"),
        (lambda: PixelCNNPixels((4,)), "vectors go with"),
        (lambda: PixelCNNPixels((1, 4, 4))(torch.zeros(2, 1, 4, 5)), r"shape \(1, 4, 4\), but .* \(1, 4, 5\)"),
        (lambda: PixelCNNPixels((1, 4, 4))(torch.zeros(3, 4)), "images need"),
        (lambda: PixelCNNPixels((1, 4, 4))(torch.zeros(1, 4, 4)).log_prob(torch.zeros(1, 5, 4)), "got|shape"),
        (lambda: PixelCNNPixels((1, 4, 4))(torch.zeros(1, 4, 4)).log_prob(torch.full((1, 4, 4), 0.5)), "support"),
    ],
)
def test_bad_arguments_are_told(make, says):
    with pytest.raises(ValueError, match=says):
        make()
