"""Every prior with every guide under every objective: shapes, gradients, training, saving, bounds."""

import itertools

import pytest
import torch
from conftest import randomise
from pyro.infer import Predictive

from inference import (
    STL,
    BetaELBO,
    DReG,
    ELBOWithTerms,
    Images,
    RenyiELBO,
    Settings,
    Trace_ELBO,
    TraceMeanField_ELBO,
    check_pair,
    fit,
    iwae_bound,
    log_weights,
    set_seed,
)
from inference.programs.terms import draw_traces, elbo_terms
from inference.runs.checkpoint import load_checkpoint, save_checkpoint
from pyro_models import (
    VAE,
    FlowGuide,
    FlowPrior,
    FullRankGuide,
    GaussianMixture,
    IAFGuide,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    SemiAmortizedGuide,
    StandardNormal,
    TopDownGuide,
    TwoLevelGuide,
    TwoLevelVAE,
    VampPrior,
    ZukoPrior,
)

SHAPE = (1, 3, 3)
DIM = 3
PRIORS = {
    "normal": lambda guide: StandardNormal(DIM),
    "mixture": lambda guide: GaussianMixture(DIM, 4),
    "vamp": lambda guide: VampPrior(guide, SHAPE, 4),
    "flow": lambda guide: FlowPrior(DIM, 2, [8]),
    "spline": lambda guide: ZukoPrior(DIM, "NSF", 1, [8]),
    "autoregressive": lambda guide: ZukoPrior(DIM, "MAF", 1, [8]),
}
GUIDES = {
    "mean field": lambda encoder, model: MeanFieldGuide(encoder, DIM),
    "full rank": lambda encoder, model: FullRankGuide(encoder, DIM),
    "flow": lambda encoder, model: FlowGuide(encoder, DIM, 2, [8]),
    "flow of mixtures": lambda encoder, model: FlowGuide(encoder, DIM, 2, [8], components=2),
    "iaf": lambda encoder, model: IAFGuide(encoder, DIM, 2, [8]),
    "semi-amortised": lambda encoder, model: SemiAmortizedGuide(encoder, DIM, model, steps=2),
}
OBJECTIVES = {
    "elbo": lambda: Trace_ELBO(),
    "mean-field elbo": lambda: TraceMeanField_ELBO(),
    "iwae": lambda: RenyiELBO(0.0, 4),
    "renyi": lambda: RenyiELBO(0.5, 4),
    "stl": lambda: STL(2),
    "dreg": lambda: DReG(4),
    "beta": lambda: BetaELBO(0.5),
}
# the semi-amortised guide uses the model and so cannot be in it; its density is random, which cannot be held
REFUSED = {("vamp", "semi-amortised")}
NOT_HELD = {("semi-amortised", "stl"), ("semi-amortised", "dreg")}


def make_pair(prior: str, guide: str):
    decoder, encoder = MLPDecoder(DIM, SHAPE, [8]), MLPEncoder(SHAPE, [8])
    if guide == "semi-amortised":
        model = VAE(PRIORS[prior](None), decoder)
        return randomise(model), randomise(GUIDES[guide](encoder, model))
    made = GUIDES[guide](encoder, None)
    return randomise(VAE(PRIORS[prior](made), decoder)), randomise(made)


PAIRS = [pair for pair in itertools.product(PRIORS, GUIDES) if pair not in REFUSED]
ALL = [(*pair, name) for pair in PAIRS for name in OBJECTIVES if (pair[1], name) not in NOT_HELD]


def data(count: int = 6) -> torch.Tensor:
    return torch.rand(count, *SHAPE).round()


def images(count: int = 6) -> Images:
    return Images("test", data(count).byte(), torch.arange(count) % 2, 2, "static")


@pytest.mark.parametrize(("prior", "guide", "objective"), ALL, ids=[", ".join(names) for names in ALL])
def test_loss_is_finite_and_every_parameter_gets_a_gradient(prior, guide, objective):
    model, guide = make_pair(prior, guide)
    module = ELBOWithTerms(OBJECTIVES[objective](), model, guide)
    loss, terms = module(data())
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert terms.negative_elbo.shape[-1] == 6
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("prior", "guide"), PAIRS, ids=[", ".join(names) for names in PAIRS])
def test_two_steps_of_training_saving_and_the_order_of_bounds(prior, guide, tmp_path):
    model, guide_ = make_pair(prior, guide)
    parameters = dict([*model.named_parameters(), *guide_.named_parameters()])
    before = {name: p.clone() for name, p in parameters.items()}
    rows = fit(model, guide_, images(), images(), Settings(epochs=1, batch_size=3, lr=1e-2))
    assert len(rows) == 1
    moved = {name for name, p in parameters.items() if not torch.equal(before[name], p)}
    assert moved == before.keys()

    save_checkpoint(tmp_path / "pair.safetensors", model, guide_)
    other_model, other_guide = make_pair(prior, guide)
    load_checkpoint(tmp_path / "pair.safetensors", other_model, other_guide)
    x, bounds = data(20), []
    for pair in ((model, guide_), (other_model, other_guide)):
        set_seed(0)
        bounds.append(log_weights(*pair, x, 200))
    torch.testing.assert_close(*bounds)
    one, five, fifty = (iwae_bound(bounds[0], m) for m in (1, 5, 50))
    assert one.mean() < five.mean() < fifty.mean()
    drawn = Predictive(model, num_samples=3)(None, batch=2)
    assert drawn["z"].shape == (3, 2, DIM)
    assert drawn["x"].shape == (3, 2, *SHAPE)


@pytest.mark.parametrize("objective", ["stl", "dreg"])
def test_a_density_that_is_drawn_anew_cannot_be_held(objective):
    module = ELBOWithTerms(OBJECTIVES[objective](), *make_pair("normal", "semi-amortised"))
    with pytest.raises(ValueError, match="is random"):
        module(data())


def test_a_vamp_prior_needs_a_guide_with_a_posterior():
    with pytest.raises(TypeError, match="HasPosterior"):
        VampPrior(torch.nn.Identity(), SHAPE)


def test_gradients_of_a_vamp_prior_reach_the_guide():
    guide = randomise(MeanFieldGuide(MLPEncoder(SHAPE, [8]), DIM))
    prior = VampPrior(guide, SHAPE, 4)
    prior().log_prob(torch.randn(5, DIM)).sum().backward()
    for name, parameter in [*guide.named_parameters(), *prior.named_parameters()]:
        assert parameter.grad.abs().sum() > 0, name
    assert not {id(p) for p in prior.parameters()} & {id(p) for p in guide.parameters()}


def bottom_up():
    model = TwoLevelVAE(StandardNormal(2), MLPDecoder(DIM, SHAPE, [8]), DIM, 2, hidden=[8])
    return model, TwoLevelGuide(MLPEncoder(SHAPE, [8]), DIM, 2, hidden=[8])


def top_down(prior=lambda guide: StandardNormal(2)):
    guide = TopDownGuide(MLPEncoder(SHAPE, [8]), DIM, 2, hidden=[8])
    model = TwoLevelVAE(prior(guide), MLPDecoder(DIM + 2, SHAPE, [8]), DIM, 2, hidden=[8], skip=True)
    return model, guide


TWO_LAYERS = {
    "bottom up": bottom_up,
    "top down, skip": top_down,
    "top down, skip, flow": lambda: top_down(lambda guide: FlowPrior(2, 2, [8])),
    "top down, skip, vamp": lambda: top_down(lambda guide: VampPrior(guide, SHAPE, 4)),
}


@pytest.fixture(params=TWO_LAYERS)
def two_layers(request):
    return tuple(randomise(half) for half in TWO_LAYERS[request.param]())


def test_the_mean_field_objective_is_refused_where_it_would_be_wrong():
    with pytest.raises(ValueError, match="mean field"):
        check_pair(*bottom_up(), images(), TraceMeanField_ELBO())


def test_the_mean_field_objective_holds_where_both_draw_from_the_top():
    torch.manual_seed(0)
    pair = tuple(randomise(half) for half in top_down())
    check_pair(*pair, images(), TraceMeanField_ELBO())
    x = data(1).expand(20_000, *SHAPE)
    with torch.no_grad():
        loss = TraceMeanField_ELBO().differentiable_loss(*pair, x) / len(x)
        sampled = elbo_terms(*draw_traces(*pair, x), closed_form=False).negative_elbo
        closed = elbo_terms(*draw_traces(*pair, x)).negative_elbo
    error = sampled.std() / len(x) ** 0.5
    assert abs(closed.mean() - sampled.mean()) < 5 * error
    assert abs(loss - sampled.mean()) < 5 * error
    assert error < 0.1


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "mean-field elbo"])
def test_two_layers(two_layers, objective):
    module = ELBOWithTerms(OBJECTIVES[objective](), *two_layers)
    loss, _ = module(data())
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    log_w = log_weights(*two_layers, data(10), 500)
    assert iwae_bound(log_w, 1).mean() < iwae_bound(log_w, 5).mean() < iwae_bound(log_w, 50).mean()


def test_probabilities_of_all_images_sum_to_one_with_two_layers(two_layers):
    """A density left out of the weights, or counted twice, would show here."""
    near = [randomise(half, 0.15) for half in two_layers]  # guide and prior alike: weights without heavy tails
    pixels = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).reshape(-1, *SHAPE)
    log_w = log_weights(*near, pixels, 4000).double()
    total = log_w.exp().sum(1)  # one estimate for each draw of all the latents
    error = total.std() / len(total) ** 0.5
    assert error < 0.1
    assert abs(total.mean() - 1) < 4 * error


def test_with_a_skip_connection_the_image_depends_on_both_codes_and_the_lower_code_on_the_upper():
    model, guide = (randomise(half) for half in top_down())
    x = data()
    model_trace, guide_trace = draw_traces(model, guide, x)
    upper, lower = (guide_trace.nodes[name]["value"] for name in ("z2", "z1"))
    raw = model_trace.nodes["x"]["fn"].logits
    assert torch.autograd.grad(lower.sum(), upper, retain_graph=True)[0].abs().min() > 0
    held = torch.autograd.grad(raw.sum(), [lower, upper], retain_graph=True)
    through = torch.autograd.grad(lower, upper, held[0], retain_graph=True)[0]
    assert (held[1] - through).abs().amax(0).min() > 1e-3  # beyond what reaches the image through the lower code
