"""Every model with its guide: shapes, gradients, samples, and what bad arguments are told."""

import pyro.distributions as dist
import pytest
import torch
from conftest import randomise
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO, TraceMeanField_ELBO

from pyro_models import (
    MLP,
    VAE,
    BernoulliPixels,
    ClassNormal,
    ConvDecoder,
    ConvEncoder,
    FlowModel,
    FullRankGuide,
    GaussianMixture,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NormalMixture,
    StandardNormal,
    UniformDequantizer,
    flip_realnvp,
)
from pyro_models.distributions import mixture

SHAPE = (1, 4, 4)


def vae(prior) -> tuple:
    return VAE(prior(3), MLPDecoder(3, SHAPE, [8])), MeanFieldGuide(MLPEncoder(SHAPE, [8, 8]), 3)


PAIRS = {
    "vae, standard normal": lambda: vae(StandardNormal),
    "vae, mixture": lambda: vae(GaussianMixture),
    "flow, uniform": lambda: (FlowModel(flip_realnvp(SHAPE, hidden=[8]), 2), UniformDequantizer(2)),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    return tuple(randomise(part) for part in PAIRS[request.param]())


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_every_parameter_gets_a_gradient(pair, elbo):
    x = torch.rand(6, *SHAPE).round()
    module = elbo()(*pair)
    loss = module(x)
    assert torch.isfinite(loss)
    loss.backward()
    names = {name for name, _ in module.named_parameters()}
    assert len(names) == sum(len(list(part.parameters())) for part in pair)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_predictive_samples(pair):
    model, _ = pair
    samples = Predictive(model, num_samples=5)(None, batch=2)
    assert samples["x"].shape == (5, 2, *SHAPE)
    assert set(samples["x"].unique().tolist()) <= {0.0, 1.0}
    assert model(None, batch=3).shape == (3, *SHAPE)


def test_vectorised_particles(pair):
    x = torch.rand(6, *SHAPE).round()
    many = Trace_ELBO(num_particles=7, vectorize_particles=True, max_plate_nesting=1)
    assert torch.isfinite(many(*pair)(x))


def test_sites_lie_in_the_batch_plate(pair):
    model, guide = pair
    x = torch.rand(6, *SHAPE).round()
    trace = poutine.trace(poutine.replay(model, trace=poutine.trace(guide).get_trace(x))).get_trace(x)
    trace.compute_log_prob()
    latent = "y" if isinstance(model, FlowModel) else "z"
    assert {trace.nodes[name]["log_prob"].shape for name in (latent, "x")} == {(6,)}


def test_names_of_model_and_guide_do_not_collide(pair):
    model, guide = ({name.split(".")[0] for name, _ in part.named_parameters()} for part in pair)
    assert not model & guide


@pytest.mark.parametrize("smallest", [1e-4, 0.03])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_normal_mixture_by_matrix_products_is_the_mixture(dtype, smallest):
    logits, loc = torch.randn(7, dtype=dtype), 3 * torch.randn(7, 5, dtype=dtype)
    scale = smallest + torch.rand(7, 5, dtype=dtype) ** 2
    ours = NormalMixture(logits, loc, scale)
    plain = dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))
    far = 1e4 * torch.randn(2, 50, 5, dtype=dtype)
    z = torch.cat([plain.sample((2, 50)), 10 * torch.randn(2, 50, 5, dtype=dtype), far], dim=1)
    torch.testing.assert_close(ours.log_prob(z), plain.log_prob(z), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ours.mean, plain.mean)
    assert ours.expand(torch.Size([3, 4])).log_prob(z[0, 0]).shape == (3, 4)
    assert ours.expand(torch.Size([3, 4])).sample().shape == (3, 4, 5)


def test_a_mixture_of_other_than_normals_keeps_their_density():
    logits, loc, scale, z = torch.randn(7), torch.randn(7, 5), 0.1 + torch.rand(7, 5), torch.randn(50, 5)
    for family in (dist.Normal, dist.Laplace):
        parts = logits.log_softmax(0) + family(loc, scale).log_prob(z[:, None]).sum(-1)
        torch.testing.assert_close(mixture(logits, family(loc, scale).to_event(1)).log_prob(z), parts.logsumexp(-1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: BernoulliPixels()(3 * torch.randn(200, *SHAPE)),
        lambda: NormalMixture(torch.randn(7), 3 * torch.randn(7, 5), 0.05 + torch.rand(7, 5)).expand(torch.Size([200])),
        lambda: ClassNormal(5, 3)(torch.eye(3)[torch.arange(200) % 3]),
        lambda: FullRankGuide(MLPEncoder(SHAPE, [8]), 5).posterior(torch.rand(200, *SHAPE).round()),
    ],
)
def test_densities_are_not_summed_in_half_precision(make):
    p = make()
    value = p.sample()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = p.log_prob(value)
    torch.testing.assert_close(rounded, p.log_prob(value), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (MLP(4, 2), (4,)),
        (MLPEncoder(SHAPE, [8]), SHAPE),
        (ConvEncoder(SHAPE, 4), SHAPE),
        (MLPDecoder(4, SHAPE, [8]), (4,)),
        (ConvDecoder(4, SHAPE, 4), (4,)),
    ],
)
def test_networks_give_back_the_precision_of_their_input_under_autocast(network, shape):
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.rand(3, *shape)).dtype == torch.float32


def test_parameters_of_a_class_are_not_rounded_under_autocast():
    prior, labels = ClassNormal(5, 3), torch.eye(3)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(prior(labels).mean, prior.loc, rtol=0, atol=0)


def test_mixture_prior_integrates_to_one():
    prior = randomise(GaussianMixture(2, num_components=4), 0.5)
    side = torch.linspace(-8, 8, 801)
    mass = prior().log_prob(torch.cartesian_prod(side, side)).exp().sum() * (side[1] - side[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-4)


def test_encoder_scale_is_the_root_of_a_softplus():
    guide = randomise(MeanFieldGuide(MLPEncoder(SHAPE, [8]), 3))
    x = torch.rand(5, *SHAPE)
    _, raw = guide.head(guide.encoder(x)).chunk(2, -1)
    torch.testing.assert_close(guide.posterior(x).variance, torch.nn.functional.softplus(raw))


@pytest.mark.parametrize("network", [MLPEncoder(SHAPE, [8]), ConvEncoder(SHAPE, 4), MLP(4, 2), MLP(4, (2, 3), [])])
def test_networks_take_leading_dimensions(network):
    x = torch.rand(2, 5, *(SHAPE if isinstance(network, MLPEncoder | ConvEncoder) else (4,)))
    whole, part = network(x), network(x[1, 3])
    for a, b in zip(whole, part, strict=True) if isinstance(whole, tuple) else [(whole, part)]:
        torch.testing.assert_close(a[1, 3], b)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StandardNormal(0), "latent_dim"),
        (lambda: GaussianMixture(2, 0), "num_components"),
        (lambda: MLP(4, 2, [8, -1]), "layer sizes"),
        (lambda: MLP(4, 2, activation="Elu"), "unknown activation"),
        (lambda: MLP(4, 2, activation="functional"), "unknown activation"),
        (lambda: MLP(4, 2, dropout=1.0), "dropout"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
