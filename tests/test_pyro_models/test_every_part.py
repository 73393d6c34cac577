"""Laws of every part that ``pyro_models/parts.py`` lists: add a part there and these tests run on it.

Arguments without a default are chosen by the name of the parameter.
"""

import collections
import inspect
import itertools
import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from inference import Trace_ELBO, iwae_bound, log_weights
from pyro_models import (
    VAE,
    BernoulliPixels,
    FlowModel,
    GaussianVectors,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NoLatents,
    StandardNormal,
    TwoLevelGuide,
    TwoLevelVAE,
    UniformDequantizer,
    masked_realnvp,
)
from pyro_models.parts import PARTS
from pyro_models_cli.choices import Choice
from pyro_models_cli.commands import train_realnvp, train_vae

pytestmark = pytest.mark.usefixtures("float64")

SHAPE = (1, 2, 2)
DIM, LEVELS, CLASSES, DRAWS = 2, 3, 3, 20_000


def all_of(role: str):
    return pytest.mark.parametrize("part", PARTS[role], ids=lambda part: part.__name__)


def made(part, **chosen):
    """The part with weights unlike those it starts from, where much is zero or the identity."""
    known = {"latent_dim": DIM, "image_shape": SHAPE, "size": math.prod(SHAPE), "levels": LEVELS, **chosen}
    parameters = inspect.signature(part).parameters
    required = {
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    return moved(part(**{name: known[name] for name in parameters if name in {*required, *chosen}}))


def moved(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.normal_(0, 0.4 / fan_in**0.5)
    return module


def partners():
    """A model for every kind of latent variable, each with a guide that fits it."""
    decoder = MLPDecoder(DIM, SHAPE, [3])
    vae, two_level = VAE(StandardNormal(DIM), decoder), TwoLevelVAE(StandardNormal(1), decoder, DIM, 1)
    flow = FlowModel(masked_realnvp(SHAPE, 2, [3]), levels=2)
    encoder = MLPEncoder(SHAPE, [3])
    guides = MeanFieldGuide(encoder, DIM), TwoLevelGuide(encoder, DIM, 1), UniformDequantizer(2)
    return [tuple(map(moved, pair)) for pair in zip((vae, two_level, flow), guides, strict=True)]


def all_images(levels: int) -> torch.Tensor:
    values = itertools.product(range(levels), repeat=math.prod(SHAPE))
    return torch.tensor(list(values), dtype=torch.float64).reshape(-1, *SHAPE)


def assert_gradients_reach_all_of(part, model, guide, x, labels=()):
    Trace_ELBO().differentiable_loss(model, guide, x, *labels).backward()
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@all_of("prior")
def test_a_prior_is_a_density_that_its_draws_follow(part):
    """Its integral and second moment, by weighted draws of a wider distribution."""
    guide = made(MeanFieldGuide, encoder=MLPEncoder(SHAPE, [3]))
    takes_context = "context" in inspect.signature(part).parameters
    prior = made(part, guide=guide, context=CLASSES) if takes_context else made(part, guide=guide)
    p = prior(torch.eye(CLASSES)[:1]) if takes_context else prior()
    assert p.event_shape == (DIM,)
    wide = dist.StudentT(5, torch.zeros(DIM), 2.0).to_event(1)
    z, drawn = wide.sample([DRAWS]), p.sample([DRAWS])
    weights = (p.log_prob(z if not p.batch_shape else z[:, None]).reshape(-1) - wide.log_prob(z)).exp().detach()
    assert float(weights.mean()) == pytest.approx(1, abs=5 * float(weights.std()) / DRAWS**0.5)
    weighted, squares = weights * z.square().sum(-1), drawn.square().sum(-1)
    error = float((weighted.var() + squares.var()) / DRAWS) ** 0.5
    assert float(weighted.mean()) == pytest.approx(float(squares.mean()), abs=5 * error)
    classes = CLASSES if takes_context else 0
    model = VAE(prior, moved(MLPDecoder(DIM, SHAPE, [3], context=classes)), num_classes=classes)
    outer = moved(MeanFieldGuide(MLPEncoder(SHAPE, [3], context=classes), DIM, num_classes=classes))
    assert_gradients_reach_all_of(prior, model, outer, all_images(2)[:4], [torch.arange(4) % 3] if classes else [])


@pytest.mark.parametrize("part", [part for part in PARTS["guide"] if part is not NoLatents])
def test_with_every_guide_the_evidence_is_the_same(part):
    """That of a guide known to fit: a wrong density gives another."""
    x = all_images(2)[[3, 9]]
    for model, other in partners():
        draws = DRAWS if isinstance(model, VAE) else 1000
        chosen = {"encoder": MLPEncoder(SHAPE, [3]), "model": model, "levels": 2}
        chosen |= {"top_dim": 1} if "top_dim" in inspect.signature(part).parameters else {}
        guide = made(
            part, **{name: value for name, value in chosen.items() if name in inspect.signature(part).parameters}
        )
        try:
            log_weights(model, guide, x, 1)
        except ValueError:  # its latent variables are not the model's
            continue
        log_w = log_weights(model, guide, x, draws)
        expected = log_weights(model, other, x, draws)
        error = ((log_w.exp().var(0) + expected.exp().var(0)) / draws).sqrt()
        assert ((log_w.exp().mean(0) - expected.exp().mean(0)).abs() < 5 * error).all()
        assert (iwae_bound(log_w, 1) < log_w.exp().mean(0).log()).all()
        assert_gradients_reach_all_of(guide, model, guide, x)
        return
    pytest.fail("fits no model")


@all_of("flow")
def test_a_flow_has_the_density_of_its_map(part):
    over_vectors = "size" in inspect.signature(part).parameters
    shape = (16,) if over_vectors else (1, 4, 4)
    flow = made(part, image_shape=shape, **({"size": 16} if over_vectors else {})).eval()
    epsilon = torch.randn(3, 16)
    y = flow().from_base(epsilon)
    assert y.shape == (3, *shape)
    maps = [jacobian(lambda e: flow().from_base(e[None]).flatten(), row) for row in epsilon]
    expected = dist.Normal(0, 1).log_prob(epsilon).sum(-1) - torch.stack([m.slogdet()[1] for m in maps])
    torch.testing.assert_close(flow().log_prob(y), expected, rtol=1e-6, atol=1e-6)
    drawn = flow().rsample([2])
    assert drawn.shape == (2, *shape)
    drawn.sum().backward()
    assert all(parameter.grad is not None for parameter in flow.parameters())


@pytest.mark.parametrize("part", [part for part in PARTS["likelihood"] if part is not GaussianVectors])
def test_a_likelihood_of_pixels_sums_to_one_and_knows_its_mean(part):
    likelihood = made(part)
    numbers = SHAPE if likelihood.per_pixel == 1 else (*SHAPE, likelihood.per_pixel)
    p = likelihood(torch.randn(numbers))
    images = all_images(likelihood.levels)
    probabilities = p.log_prob(images).exp()
    assert float(probabilities.sum()) == pytest.approx(1)
    expected = (probabilities[:, None, None, None] * images).sum(0)
    torch.testing.assert_close(
        p.sample([DRAWS]).double().mean(0), expected, rtol=0, atol=6 * likelihood.levels / DRAWS**0.5
    )
    try:
        torch.testing.assert_close(p.mean, expected)
    except NotImplementedError:
        assert not isinstance(likelihood, BernoulliPixels)


@pytest.mark.parametrize("leading", [(), (2,), (5, 2)])
@all_of("decoder")
def test_a_decoder_gives_numbers_for_every_pixel(part, leading):
    for per_pixel, last in ((1, ()), (3, (3,))):
        decoder = made(part, context=CLASSES, per_pixel=per_pixel)
        assert decoder(torch.randn(*leading, DIM), torch.eye(CLASSES)[0].expand(*leading, -1)).shape == (
            *leading,
            *SHAPE,
            *last,
        )


@pytest.mark.parametrize("leading", [(2,), (5, 2)])
@all_of("encoder")
def test_an_encoder_gives_the_features_it_announces(part, leading):
    encoder = made(part, context=CLASSES)
    assert encoder(torch.rand(*leading, *SHAPE), torch.eye(CLASSES)[:2]).shape == (*leading, encoder.out_features)


def test_the_command_line_offers_every_part():
    offered = collections.defaultdict(set)
    for choice in (*vars(train_vae).values(), *vars(train_realnvp).values()):
        if isinstance(choice, Choice) and choice.role != "objective":
            offered[choice.kind or choice.role] |= set(choice.names)
    listed = {role: {part.__name__ for part in parts} for role, parts in PARTS.items()}
    listed["model"] -= {"FlowModel", "DensityModel"}  # the one for images, the one for vectors
    assert offered == listed
