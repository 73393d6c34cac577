"""The formulas of the docstrings, written out a second time."""

import itertools
import math

import pytest
import torch
from conftest import randomise
from pyro import poutine
from torch import Tensor
from torch.nn.functional import softplus

from pyro_models import (
    VAE,
    ActNorm,
    AffineCoupling,
    BernoulliPixels,
    CategoricalPixels,
    ChannelPart,
    ClassNormal,
    FlowDequantizer,
    FlowGuide,
    FlowModel,
    FlowPrior,
    FullRankGuide,
    GaussianMixture,
    IAFGuide,
    Inpainting,
    LogisticPixels,
    MaskedCoupling,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    Quantized,
    ResNet,
    SemiAmortizedGuide,
    Squash,
    Squeeze,
    StandardNormal,
    TopDownGuide,
    TwoLevelGuide,
    TwoLevelVAE,
    UniformCell,
    VampPrior,
    ZukoPrior,
    flip_realnvp,
    great_circle,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
    straight,
)

pytestmark = pytest.mark.usefixtures("float64")

SHAPE = (1, 2, 3)
DIM = 5


def normal(value: Tensor, loc: Tensor | float, scale: Tensor | float) -> Tensor:
    scale = torch.as_tensor(scale)
    return (-0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def scale_of(raw: Tensor) -> Tensor:
    return (softplus(raw) + 1e-8).sqrt()


def bounded(raw: Tensor, bound: float | None) -> Tensor:
    return raw if bound is None else bound * torch.tanh(raw / bound)


def masked(coupling, kept: Tensor, z: Tensor, bound: float | None, *context: Tensor) -> tuple[Tensor, Tensor]:
    """The coupling's value at z and its log-determinant; ``kept`` is true where z passes unchanged."""
    raw, shift = coupling.conditioner(torch.where(kept, z, 0.0), *context)
    log_scale = torch.where(kept, 0.0, bounded(raw, bound))
    return torch.where(kept, z, z * log_scale.exp() + shift), log_scale.flatten(-kept.dim()).sum(-1)


def in_turn(size: int, i: int) -> Tensor:
    """What the i-th of couplings over a vector keeps: the even places, then the odd ones, and so on."""
    return torch.arange(size) % 2 == i % 2


def x_of(count: int = 4, levels: int = 2) -> Tensor:
    return torch.randint(0, levels, (count, *SHAPE)).to(torch.get_default_dtype())


def encoder(**options) -> MLPEncoder:
    return MLPEncoder(SHAPE, [7], **options)


def test_priors_of_normals():
    z, labels = torch.randn(6, DIM), torch.tensor([2, 0, 1, 2, 0, 1])
    torch.testing.assert_close(StandardNormal(DIM)().log_prob(z), normal(z, 0.0, 1.0))
    of_class = randomise(ClassNormal(DIM, 3))
    expected = normal(z, of_class.loc[labels], of_class.log_scale[labels].exp())
    torch.testing.assert_close(of_class(torch.eye(3)[labels]).log_prob(z), expected)
    mixed = randomise(GaussianMixture(DIM, 4))
    parts = mixed.logits.log_softmax(0) + normal(z[:, None], mixed.loc, mixed.log_scale.exp())
    torch.testing.assert_close(mixed().log_prob(z), parts.logsumexp(-1))


@pytest.mark.parametrize("guide", [MeanFieldGuide, FullRankGuide, FlowGuide])
def test_a_vamp_prior_is_the_mixture_of_the_posteriors_of_its_pseudo_inputs(guide):
    guide = randomise(guide(encoder(levels=9), DIM))
    prior, z = randomise(VampPrior(guide, SHAPE, 3, levels=9), 1.0), torch.randn(6, DIM)
    images = 8 * prior.pseudo.sigmoid()
    parts = torch.stack([guide.posterior(u[None]).log_prob(z) for u in images], -1)
    torch.testing.assert_close(prior().log_prob(z), (prior.logits.log_softmax(0) + parts).logsumexp(-1))


@pytest.mark.parametrize("bound", [2.0, 0.5, None])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("size", [DIM, 64])
def test_a_flow_prior_is_couplings_of_alternating_masks_after_a_standard_normal(size, bound, context):
    prior = randomise(FlowPrior(size, 3, [8], context, bound), 2 / size)
    given = [torch.randn(6, context)] if context else []
    epsilon = z = torch.randn(6, size)
    log_prob = normal(epsilon, 0.0, 1.0)
    for i, coupling in enumerate(prior.transforms):
        z, log_det = masked(coupling, in_turn(size, i), z, bound, *given)
        log_prob = log_prob - log_det
    torch.testing.assert_close(prior(*given).from_base(epsilon), z)
    torch.testing.assert_close(prior(*given).log_prob(z), log_prob)


def test_a_zuko_prior_has_the_density_of_its_flow():
    prior, z = ZukoPrior(DIM, "MAF", 2, [8]), torch.randn(6, DIM)
    assert (prior().batch_shape, prior().event_shape) == ((), (DIM,))
    torch.testing.assert_close(prior().log_prob(z), prior.flow().log_prob(z))


def test_priors_start_as_they_say():
    z = torch.randn(6, DIM)
    torch.testing.assert_close(FlowPrior(DIM)().log_prob(z), normal(z, 0.0, 1.0))
    for prior, spread in ((GaussianMixture(40, 50, spread=3.0), 3.0), (ClassNormal(40, 50), 1.0)):
        assert prior.loc.std().item() == pytest.approx(spread, rel=0.1)
        assert prior.loc.mean().item() == pytest.approx(0, abs=0.1 * spread)
        assert not prior.log_scale.any()
    assert not GaussianMixture(2, 3).logits.any()
    vamp = VampPrior(MeanFieldGuide(encoder(), 2), SHAPE, 400)
    assert vamp.pseudo.mean().item() == pytest.approx(-1, abs=0.1)  # more dark pixels than bright ones
    assert vamp.pseudo.std().item() == pytest.approx(1, abs=0.1)
    assert not vamp.logits.any()


def test_guides_of_normals():
    x = x_of()
    guide = randomise(MeanFieldGuide(encoder(), DIM))
    loc, raw = guide.head(guide.encoder(x)).split([DIM, DIM], -1)
    torch.testing.assert_close(guide.posterior(x).mean, loc)
    torch.testing.assert_close(guide.posterior(x).stddev, scale_of(raw))
    guide = randomise(FullRankGuide(encoder(), DIM))
    loc, raw, below = guide.head(guide.encoder(x)).split([DIM, DIM, DIM * (DIM - 1) // 2], -1)
    lower, entries = torch.diag_embed(scale_of(raw)), iter(below.unbind(-1))
    for row in range(DIM):
        for column in range(row):
            lower[:, row, column] = next(entries)
    torch.testing.assert_close(guide.posterior(x).mean, loc)
    torch.testing.assert_close(guide.posterior(x).covariance_matrix, lower @ lower.mT)


@pytest.mark.parametrize("bound", [2.0, 0.1])
@pytest.mark.parametrize("size", [DIM, 64])
def test_a_flow_guide_is_couplings_that_see_the_features(size, bound):
    guide, x = randomise(FlowGuide(encoder(), size, 3, [8], bound=bound), 2.5 / size), x_of()
    features = guide.encoder(x)
    loc, raw = guide.head(features).chunk(2, -1)
    q = guide.posterior(x)
    z = start = q.base_dist.rsample()
    log_prob = normal(start, loc, scale_of(raw))
    for i, coupling in enumerate(guide.couplings):
        z, log_det = masked(coupling, in_turn(size, i), z, bound, features)
        log_prob = log_prob - log_det
    torch.testing.assert_close(q.from_base(start), z)
    torch.testing.assert_close(q.log_prob(z), log_prob)


def test_an_inverse_autoregressive_guide_is_its_algorithm():
    guide, x = randomise(IAFGuide(encoder(), DIM, 2, [8]), 0.5), x_of()
    features = guide.encoder(x)
    loc, raw = guide.head(features).chunk(2, -1)
    q = guide.posterior(x)
    z = start = q.base_dist.rsample()
    log_prob = normal(start, loc, scale_of(raw))
    for layer in guide.layers:
        m, s = layer.nn(z, context=features)
        sigma = torch.sigmoid(s + 2)  # a forget gate that starts open
        z = (sigma * z + (1 - sigma) * m).flip(-1)
        log_prob = log_prob - sigma.log().sum(-1)
    torch.testing.assert_close(q.from_base(start), z)
    torch.testing.assert_close(q.log_prob(z), log_prob, rtol=1e-5, atol=1e-5)
    earlier = torch.autograd.functional.jacobian(lambda z: guide.layers[0].nn(z, context=features[:1])[0], start[:1])
    assert not earlier[0, :, 0].triu().any()  # each coordinate sees those before it alone


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize(("scale", "weights"), [(0.05, 0.1), (3.0, 1.0)])  # gradients shorter than one, and longer
def test_a_semi_amortised_guide_takes_gradient_steps_no_longer_than_its_rate(scale, weights, num_classes):
    decoder = MLPDecoder(2, SHAPE, [8], context=num_classes)
    model = randomise(VAE(StandardNormal(2), decoder, num_classes=num_classes), weights)
    x, labels = x_of(), (torch.tensor([2, 0, 1, 1]) if num_classes else None)
    guide = SemiAmortizedGuide(encoder(context=num_classes), 2, model, 2, 0.3, num_classes)
    parameters = randomise(guide, scale).head(guide.features(x, labels)).detach()
    torch.manual_seed(1)
    q = guide.posterior(x, labels)
    torch.manual_seed(1)
    lengths = []
    for _ in range(2):
        parameters.requires_grad_()
        loc, raw = parameters.chunk(2, -1)
        z = loc + scale_of(raw) * torch.randn(4, 2)
        elbo = normal(z, 0.0, 1.0) + model.image(z, labels).log_prob(x) - normal(z, loc, scale_of(raw))
        (gradient,) = torch.autograd.grad(elbo.sum(), parameters)
        length = gradient.square().sum(-1, keepdim=True).sqrt()
        lengths.append(length)
        parameters = (parameters + 0.3 * torch.where(length > 1, gradient / length, gradient)).detach()
    assert (torch.cat(lengths).min() < 0.9) == (weights < 1)
    torch.testing.assert_close(q.mean, parameters[:, :2])
    torch.testing.assert_close(q.stddev, scale_of(parameters[:, 2:]))
    q.mean.sum().backward()
    assert guide.head.bias.grad.tolist() == [4, 4, 0, 0]  # the steps are constants to the encoder


def log_bernoulli(x: Tensor, raw: Tensor) -> Tensor:
    return (x * raw - softplus(raw)).flatten(-3).sum(-1)


def test_the_joint_density_given_labels():
    x, z, labels = x_of(), torch.randn(4, DIM), torch.tensor([2, 0, 1, 1])
    context = torch.eye(3)[labels]
    decoder = randomise(MLPDecoder(DIM, SHAPE, [8], context=3))
    prior = randomise(ClassNormal(DIM, 3))
    image = log_bernoulli(x, decoder(torch.cat([z, context], -1)))
    known = normal(z, prior.loc[labels], prior.log_scale[labels].exp())
    torch.testing.assert_close(VAE(prior, decoder, num_classes=3).log_joint(x, z, labels), known + image)
    plain = VAE(StandardNormal(DIM), decoder, num_classes=3)  # a prior that sees no labels
    torch.testing.assert_close(plain.log_joint(x, z, labels), normal(z, 0.0, 1.0) + image)
    two = randomise(TwoLevelVAE(ClassNormal(2, 3), decoder, DIM, hidden=[6], num_classes=3))
    drawn = sites(two, x, labels)
    assert_normal_of(drawn["z2"], two.prior.loc[labels], two.prior.log_scale[labels].exp())
    torch.testing.assert_close(drawn["x"]["fn"].logits, decoder(drawn["z1"]["value"], context))


GUIDES = {
    "mean field": lambda encoder: MeanFieldGuide(encoder, DIM, 3),
    "full rank": lambda encoder: FullRankGuide(encoder, DIM, 3),
    "flow": lambda encoder: FlowGuide(encoder, DIM, 2, [8], 3),
    "flow of mixtures": lambda encoder: FlowGuide(encoder, DIM, 2, [8], 3, components=2),
    "inverse autoregressive flow": lambda encoder: IAFGuide(encoder, DIM, 2, [8], 3),
    "two levels": lambda encoder: TwoLevelGuide(encoder, DIM, 2, [8], 3),
    "top down": lambda encoder: TopDownGuide(encoder, DIM, 2, [8], 3),
    "top down, flows": lambda encoder: TopDownGuide(encoder, DIM, 2, [8], 3, couplings=2),
}


@pytest.mark.parametrize("name", GUIDES)
def test_guides_see_labels_through_their_encoder(name):
    guide, x, labels = randomise(GUIDES[name](encoder(context=3))), x_of(), torch.tensor([2, 0, 1, 1])
    torch.testing.assert_close(guide.features(x, labels), guide.encoder(x, torch.eye(3)[labels]))
    site = next(iter(sites(guide, x, labels).values()))["fn"]
    size = site.event_shape[0]
    expected = guide.head(guide.features(x, labels))[:, :size]
    torch.testing.assert_close(getattr(site, "base_dist", site).mean.reshape(4, size), expected)


def sites(program, *data: Tensor) -> dict[str, dict]:
    nodes = poutine.trace(program).get_trace(*data).nodes
    return {name: node for name, node in nodes.items() if node["type"] == "sample" and name != "data"}


def assert_normal_of(site: dict, loc: Tensor, scale: Tensor) -> None:
    torch.testing.assert_close(site["fn"].mean, loc)
    torch.testing.assert_close(site["fn"].stddev, scale)


def assert_normal(site: dict, loc: Tensor, raw: Tensor) -> None:
    assert_normal_of(site, loc, scale_of(raw))


def test_two_levels_are_normals_of_what_is_drawn_before():
    x = x_of()
    up = randomise(TwoLevelGuide(encoder(), DIM, hidden=[6]))
    drawn = sites(up, x)
    assert list(drawn) == ["z1", "z2"]
    assert_normal(drawn["z1"], *up.head(up.encoder(x)).chunk(2, -1))
    assert_normal(drawn["z2"], *up.up(drawn["z1"]["value"]))
    down = randomise(TopDownGuide(encoder(), DIM, hidden=[6]))
    drawn = sites(down, x)
    assert list(drawn) == ["z2", "z1"]
    assert_normal(drawn["z2"], *down.head(down.encoder(x)).chunk(2, -1))
    assert_normal(drawn["z1"], *down.down(torch.cat([drawn["z2"]["value"], down.encoder(x)], -1)))
    for skip in (False, True):
        decoder = MLPDecoder(DIM + 2 * skip, SHAPE, [8])
        model = randomise(TwoLevelVAE(StandardNormal(2), decoder, DIM, hidden=[6], skip=skip))
        drawn = sites(model, x)
        assert list(drawn) == ["z2", "z1", "x"]
        z2, z1 = drawn["z2"]["value"], drawn["z1"]["value"]
        assert_normal(drawn["z1"], *model.down(z2))
        torch.testing.assert_close(drawn["x"]["fn"].logits, decoder(torch.cat([z1, z2], -1) if skip else z1))


def test_a_top_down_guide_with_couplings_pushes_both_normals_through_them():
    x = x_of()
    guide = randomise(TopDownGuide(encoder(), DIM, 2, hidden=[6], couplings=2))
    drawn, features = sites(guide, x), guide.features(x)
    for site, chain in (("z2", guide.couplings_of_z2), ("z1", guide.couplings_of_z1)):
        z, log_det = drawn[site]["value"], 0.0
        for coupling in reversed(chain):
            z, part = coupling.condition(features).inverse_and_log_det(z)
            log_det = log_det + part
        of = (
            guide.head(features) if site == "z2" else torch.cat(guide.down(drawn["z2"]["value"], features), dim=-1)
        ).chunk(2, -1)
        normal = torch.distributions.Normal(of[0], scale_of(of[1]))
        torch.testing.assert_close(
            drawn[site]["fn"].log_prob(drawn[site]["value"]), normal.log_prob(z).sum(-1) + log_det
        )
        assert (drawn[site]["value"] - z).abs().min() > 1e-4  # they do something to every coordinate


@pytest.mark.parametrize(("latent_dim", "half"), [(1, 1), (2, 1), (5, 2), (8, 4)])
def test_the_upper_of_two_codes_has_half_the_size_of_the_lower(latent_dim, half):
    x = x_of()
    for guide in (TwoLevelGuide(encoder(), latent_dim), TopDownGuide(encoder(), latent_dim)):
        drawn = sites(guide, x)
        assert [drawn[name]["value"].shape[-1] for name in ("z1", "z2")] == [latent_dim, half]
    model = TwoLevelVAE(StandardNormal(half), MLPDecoder(latent_dim, SHAPE, [4]), latent_dim)
    assert sites(model)["z1"]["value"].shape == (1, latent_dim)


def test_a_learned_dequantiser_is_couplings_that_see_the_image():
    guide, x = randomise(FlowDequantizer(SHAPE, 5, 3, 6, 1), 0.2), x_of(levels=5)
    features, seen = guide.features(x / 2 - 1), []
    guide.features.register_forward_hook(lambda module, inputs, result: seen.append(inputs[0]))
    y = sites(guide, x)["y"]
    torch.testing.assert_close(seen[0], x / 2 - 1)  # from -1 to 1
    epsilon = 1.702 * torch.randn(4, 6)
    log_prob = normal(epsilon, 0.0, 1.702)
    v = epsilon.reshape(4, *SHAPE)
    parity = (torch.arange(2)[:, None] + torch.arange(3)) % 2
    for i, coupling in enumerate(guide.couplings):
        v, log_det = masked(coupling, (parity == i % 2).expand(SHAPE), v, None, features)
        log_prob = log_prob - log_det
    log_prob = log_prob - (v.sigmoid() * (1 - v.sigmoid()) / 5).log().flatten(1).sum(-1)
    torch.testing.assert_close(y["fn"].from_base(epsilon), (x + v.sigmoid()) / 5)
    torch.testing.assert_close(y["fn"].log_prob((x + v.sigmoid()) / 5), log_prob)


def test_a_learned_dequantiser_has_networks_of_the_size_asked_for():
    guide = FlowDequantizer(SHAPE, 5, couplings=2, channels=6, blocks=3)
    networks = [m for m in guide.modules() if isinstance(m, ResNet)]
    found = [[(c.in_channels, c.out_channels) for c in n.modules() if isinstance(c, torch.nn.Conv2d)] for n in networks]
    assert found == [[(1, 6), *[(6, 6)] * 9, (6, 6)], *[[(7, 6), *[(6, 6)] * 9, (6, 2)]] * 2]


def test_flows_of_vectors_are_couplings_and_flips_or_couplings_of_either_half():
    epsilon = torch.randn(7, 6)
    for flow, bound in ((flip_realnvp((6,), 3, [8]), 2.0), (masked_realnvp((6,), 3, [8]), 1.0)):
        randomise(flow, 0.6)
        v, log_prob = epsilon, normal(epsilon, 0.0, 1.0)
        for i, coupling in enumerate(t for t in flow.transforms if hasattr(t, "conditioner")):
            kept, moved = v.split(3, -1) if bound == 2.0 or i % 2 == 0 else v.split(3, -1)[::-1]
            raw, shift = coupling.conditioner(kept)
            log_scale = bounded(raw, bound)
            moved = moved * log_scale.exp() + shift
            log_prob = log_prob - log_scale.sum(-1)
            if bound == 2.0:
                v = torch.cat([kept, moved], -1).flip(-1)
            else:
                v = torch.cat([kept, moved] if i % 2 == 0 else [moved, kept], -1)
        y = (v.sigmoid() - 1e-6) / (1 - 2e-6)
        log_prob = log_prob - (v.sigmoid() * (1 - v.sigmoid()) / (1 - 2e-6)).log().sum(-1)
        torch.testing.assert_close(flow().from_base(epsilon), y)
        torch.testing.assert_close(flow().log_prob(y), log_prob)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_part_of_the_channels_passes_through_the_chain_and_the_rest_as_it_is(channels):
    first, second = randomise(ActNorm(channels)).eval(), randomise(ActNorm(4 * channels)).eval()
    part = ChannelPart([first, Squeeze(), second, Squeeze().inv], channels)
    x = torch.randn(5, 3, 2, 4)
    y, log_det = part.forward_and_log_det(x)
    inner = x[:, :channels] * first.log_scale.exp() + first.shift
    inner = Squeeze().inv(Squeeze()(inner) * second.log_scale.exp() + second.shift)
    torch.testing.assert_close(y, torch.cat([inner, x[:, channels:]], 1))
    torch.testing.assert_close(log_det, (8 * first.log_scale.sum() + 2 * second.log_scale.sum()).expand(5))
    torch.testing.assert_close(part.inverse_and_log_det(y), (x, -log_det))


def test_flows_start_as_the_identity_before_the_sigmoid():
    epsilon, x = torch.randn(4, 6), x_of()
    for flow in (flip_realnvp((6,), 2), flip_realnvp((6,), 2, separate=True), masked_realnvp((6,))):
        torch.testing.assert_close(flow().from_base(epsilon), Squash()(epsilon))
    guide = FlowGuide(encoder(), DIM)
    torch.testing.assert_close(guide.posterior(x).from_base(epsilon[:, :DIM]), epsilon[:, :DIM])
    noise = FlowDequantizer(SHAPE, 2, channels=3, blocks=1).noise(x)
    torch.testing.assert_close(noise.from_base(epsilon), epsilon.sigmoid().reshape(4, *SHAPE))


@pytest.mark.parametrize(
    ("flow", "layers"),
    [
        (flip_realnvp((6,), 2, [5, 7], "Tanh", 0.25), "3-5 Tanh 0.25 5-7 Tanh 0.25 7-6"),
        (flip_realnvp((6,), 2, [5], "Tanh", 0.25, True, context=2), "5-5 Tanh 0.25 5-3 5-5 Tanh 0.25 5-3"),
        (masked_realnvp((6,), 2, [5], "GELU", context=2), "5-5 GELU 5-3 5-5 GELU 5-3"),
        (FlowPrior(4, 2, [5], 2), "6-5 ELU 5-8"),
        (FlowGuide(encoder(), 4, 2, [5]), "11-5 ELU 5-8"),
        (TwoLevelGuide(encoder(), 4, 2, [5]), "4-5 Tanh 5-4"),
        (TopDownGuide(encoder(), 4, 2, [5]), "9-5 ELU 5-8"),
        (TwoLevelVAE(StandardNormal(2), MLPDecoder(4, SHAPE), 4, 2, hidden=[5]), "2-5 Tanh 5-8"),
    ],
)
def test_networks_are_those_asked_for(flow, layers):
    modules = [m for m in flow.modules() if isinstance(m, MaskedCoupling | AffineCoupling)]
    modules = modules or [getattr(flow, "up", None) or flow.down]
    for module in modules:
        found = []
        for m in module.modules():
            if isinstance(m, torch.nn.Linear):
                found.append(f"{m.in_features}-{m.out_features}")
            elif isinstance(m, torch.nn.Dropout):
                found.append(str(m.p))
            elif type(m).__name__ in ("ELU", "ReLU", "Tanh", "GELU"):
                found.append(type(m).__name__)
        assert " ".join(found) == layers


def test_a_model_without_data_draws_one_image():
    for model in (
        VAE(StandardNormal(DIM), MLPDecoder(DIM, SHAPE, [8])),
        FlowModel(flip_realnvp(SHAPE, 2, [8]), 4),
        TwoLevelVAE(StandardNormal(2), MLPDecoder(DIM, SHAPE, [8]), DIM),
    ):
        assert model().shape == (1, *SHAPE)
        assert model(batch=3).shape == (3, *SHAPE)


def test_the_temperature_reaches_the_flow_of_a_model():
    model = FlowModel(flip_realnvp((6,), 2, [8], context=3), 4, num_classes=3)
    labels = torch.tensor([0, 2])
    assert (model.intensities(labels, temperature=0.5).base_dist.stddev == 0.5).all()
    assert (model.intensities(labels).base_dist.stddev == 1).all()


def test_separate_networks_make_the_scale_and_the_shift():
    flow, kept = randomise(flip_realnvp((6,), 2, [8], separate=True)), torch.randn(4, 3)
    for coupling in flow.transforms[:4:2]:
        scale, shift = coupling.conditioner.networks
        expected = 2 * torch.tanh(scale(kept) / 2), shift(kept)
        torch.testing.assert_close(coupling.log_scale_and_shift(kept), expected)
    one = flip_realnvp((6,), 2, [8]).transforms[0].conditioner
    assert one.heads == [3, 3]


def described(transforms) -> list[str]:
    """Transforms read from the data to the base; networks as channels in, wide, and out, and number of blocks."""
    lines: list[str] = []
    for t in reversed(list(transforms)):
        if isinstance(t, ActNorm):
            lines.append(f"norm {len(t.shift)}")
        elif isinstance(t, MaskedCoupling | AffineCoupling):
            convolutions = [m for m in t.modules() if isinstance(m, torch.nn.Conv2d)]
            first, last = convolutions[0], convolutions[-1]
            network = f"{first.in_channels}-{first.out_channels}-{last.out_channels}, {(len(convolutions) - 2) // 3}"
            kind = f"keeps {int(~t.mask[0, 0, 0])}" if isinstance(t, MaskedCoupling) else f"swap {int(t.halves.swap)}"
            lines.append(f"{kind}: {network}" + (f", bound {t.bound}" if t.bound else ""))
        elif isinstance(t, ChannelPart):
            lines += [f"part {t.channels}", *described(t.transforms), "whole"]
        else:
            lines.append("squeeze" if isinstance(t, Squeeze) else "unsqueeze" if isinstance(t.inv, Squeeze) else "")
    return [line for line in lines if line]


def test_flows_of_images_are_those_of_the_paper():
    flow = image_realnvp((1, 4, 4), channels=6, blocks=2, outer=3, squeezed=3, inner=2, alpha=0.01)
    assert described(flow.transforms) == [
        *["keeps 0: 1-6-2, 2", "norm 1", "keeps 1: 1-6-2, 2", "norm 1", "keeps 0: 1-6-2, 2", "unsqueeze"],
        *["swap 0: 2-6-4, 2", "norm 4", "swap 1: 2-6-4, 2", "norm 4", "swap 0: 2-6-4, 2", "squeeze"],
        *["keeps 0: 1-6-2, 2", "norm 1", "keeps 1: 1-6-2, 2"],
    ]
    assert flow.transforms[-1].alpha == 0.01
    flow = multiscale_realnvp((1, 8, 8), scales=3, channels=3, blocks=1, couplings=2, last=3, alpha=0.02, context=5)
    assert described(flow.transforms) == [
        *["keeps 0: 6-3-2, 1", "norm 1", "keeps 1: 6-3-2, 1", "unsqueeze"],
        *["swap 0: 7-6-4, 1", "norm 4", "swap 1: 7-6-4, 1", "part 2"],
        *["keeps 0: 7-6-4, 1", "norm 2", "keeps 1: 7-6-4, 1", "unsqueeze"],
        *["swap 0: 9-12-8, 1", "norm 8", "swap 1: 9-12-8, 1", "part 4"],
        *["keeps 0: 9-12-8, 1", "norm 4", "keeps 1: 9-12-8, 1", "norm 4", "keeps 0: 9-12-8, 1"],
        *["whole", "squeeze", "whole", "squeeze"],
    ]
    assert flow.transforms[-1].alpha == 0.02


def test_squeezing_is_its_formula():
    x = torch.randn(3, 5, 2, 4, 6)
    y = Squeeze()(x)
    for c, i, j in itertools.product(range(2), range(2), range(2)):
        assert torch.equal(y[:, :, 4 * c + 2 * i + j], x[:, :, c, i::2, j::2])
    assert torch.equal(Squeeze().inv(y), x)
    for channels, height, width in ((1, 2, 6), (3, 4, 2)):
        small, large = torch.Size([7, channels, height, width]), torch.Size([7, 4 * channels, height // 2, width // 2])
        assert Squeeze().forward_shape(small) == large
        assert Squeeze().inverse_shape(large) == small


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.2])
def test_the_range_of_a_squash_is_what_the_whole_line_becomes(alpha):
    squash = Squash(alpha)
    ends = squash(torch.tensor([-math.inf, math.inf]))
    torch.testing.assert_close(torch.tensor([squash.codomain.lower_bound, squash.codomain.upper_bound]), ends)
    torch.testing.assert_close(ends, torch.tensor([-alpha, 1 - alpha]) / (1 - 2 * alpha))


def test_a_squashed_draw_has_the_distribution_function_of_its_noise():
    normal, squash, x = torch.distributions.Normal(0.0, 1.0), Squash(0.1), torch.linspace(-3, 3, 7)
    squashed = torch.distributions.TransformedDistribution(normal, squash)
    torch.testing.assert_close(squashed.cdf(squash(x)), normal.cdf(x))


def test_a_channel_that_does_not_vary_is_normalised_without_harm():
    layer, y = ActNorm(2).train(), torch.randn(50, 2, 3, 3)
    y[:, 1] = 4.0
    x, log_det = layer.inverse_and_log_det(y)
    assert not x[:, 1].any()
    assert float(layer.log_scale[1].detach()) == 0
    torch.testing.assert_close(log_det, -9 * layer.log_scale.sum().expand(50))


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cells_are_wider_than_their_pixels_by_rounding_alone(levels, dtype):
    x = torch.arange(levels, dtype=dtype)[:, None]
    rounding = 2 * levels * torch.finfo(dtype).eps
    for off, inside in ((0.5 * rounding, True), (1.3 * rounding, False)):
        for y in ((x - off) / levels, (x + 1 + off) / levels):
            cell = UniformCell(x, levels, 1, validate_args=False)
            assert (
                (cell.log_prob(y) == (math.log(levels) if inside else -math.inf))
                .logical_or(~torch.tensor(inside))
                .all()
            )
            assert (Quantized(y, levels, 1).log_prob(x) == (0 if inside else -math.inf)).all()
            assert (cell.support.check(y) == inside).all()
    expanded = UniformCell(x[:2], levels, 1).expand([3, 2])
    assert torch.equal((expanded.sample([5]) * levels).floor(), x[:2].expand(5, 3, 2, 1))


def test_values_that_an_observation_can_take():
    """Whole numbers from 0 to levels - 1, for every distribution of pixels."""
    zeros = torch.zeros(1, 1, 1)
    for p, levels in (
        (BernoulliPixels()(zeros), 2),
        (CategoricalPixels(3)(torch.zeros(1, 1, 1, 3)), 3),
        (LogisticPixels(5)(torch.zeros(1, 1, 1, 2)), 5),
        (Quantized(zeros, 4, 3), 4),
    ):
        for value in (-1.0, -0.5, 0.5, *range(levels), levels - 0.5, float(levels)):
            good = value == int(value) and 0 <= value < levels
            assert bool(p.support.check(torch.full((1, 1, 1), float(value))).all()) == good


def test_draws_of_quantised_intensities_repeat_and_their_mean_is_the_level():
    y = torch.tensor([[-0.2, 0.1], [0.5, 1.3]])
    p = Quantized(y, 4, 1)
    assert p.mean.tolist() == [[0, 0], [2, 3]]
    assert torch.equal(p.sample([3, 2]), p.mean.expand(3, 2, 2, 2))
    assert (p.batch_shape, p.event_shape) == ((2,), (2,))
    wide = p.expand([3, 2])
    assert (wide.batch_shape, wide.event_shape) == ((3, 2), (2,))
    assert torch.equal(wide.sample(), p.mean.expand(3, 2, 2))


def test_inpainting_observes_the_cells_middles_and_draws_the_rest_from_the_flow():
    flow = randomise(flip_realnvp(SHAPE, 2, [8], alpha=0.01), 0.3)
    known = torch.tensor([[[True, False, True], [False, False, True]]])
    x, epsilon = x_of(levels=9), torch.randn(4, 6)
    program = Inpainting(FlowModel(flow, 9), known, noise=0.2)
    trace = poutine.trace(poutine.condition(program, data={"epsilon": epsilon})).get_trace(x)
    y = flow().from_base(epsilon)
    p = 0.01 + 0.98 * torch.stack([y, (x + 0.5) / 9])
    v, target = p.log() - (1 - p).log()
    site = trace.nodes["known"]
    torch.testing.assert_close(site["value"], target[:, known])
    torch.testing.assert_close(site["fn"].log_prob(site["value"]), normal(target[:, known], v[:, known], 0.2))
    torch.testing.assert_close(trace.nodes["epsilon"]["fn"].log_prob(epsilon), normal(epsilon, 0.0, 1.0))
    drawn = (9 * y).floor().clamp(0, 8)
    assert torch.equal(trace.nodes["_RETURN"]["value"], torch.where(known, x, drawn))


def test_logistic_pixels_start_in_the_middle_and_no_scale_is_below_a_thousandth():
    levels = torch.arange(6.0).reshape(6, 1, 1, 1)
    for loc, log_scale in ((0.0, 0.0), (-0.2, 1.0), (0.3, -4.0), (0.0, -50.0)):
        p = LogisticPixels(6)(torch.tensor([loc, log_scale]).reshape(1, 1, 1, 2))
        scale = max(math.exp(log_scale - 2), math.exp(-7))
        edges = torch.sigmoid((torch.arange(7.0) / 6 - loc - 0.5) / scale)
        edges[0], edges[-1] = 0, 1
        torch.testing.assert_close(p.log_prob(levels).exp(), edges.diff(), rtol=1e-6, atol=1e-12)
        assert float(p.mean) == pytest.approx(float((levels.flatten() * edges.diff()).sum()), abs=1e-5)
    for loc, level in ((-9.0, 0), (9.0, 5)):
        mean = LogisticPixels(6)(torch.tensor([loc, 0.0]).reshape(1, 1, 1, 2)).mean
        assert float(mean) == pytest.approx(level, abs=1e-6)


def test_paths_move_evenly():
    a, b = torch.randn(2, 4), torch.randn(2, 4)
    steps = torch.linspace(0, 1, 6)[:, None, None]
    torch.testing.assert_close(straight(a, b, 6), (1 - steps) * a + steps * b)
    ends, lengths = torch.tensor([0.01, 0.5 * math.pi, 0.99 * math.pi]), torch.tensor([0.5, 1.0, 3.0])
    a = torch.tensor([[1.0, 0.0]]).expand(3, 2)
    b = lengths[:, None] * torch.stack([ends.cos(), ends.sin()], -1)
    angle, length = steps[..., 0] * ends, 1 + steps[..., 0] * (lengths - 1)
    expected = length[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    torch.testing.assert_close(great_circle(a, b, 6), expected)
    assert straight(a, b, 1).shape == great_circle(a, b, 1).shape == (1, 3, 2)
