"""Observed values that a model could not draw are refused wherever they would be given a number."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import described_vae
from torch import nn

import inference
from inference import Images, Settings, Trace_ELBO, Weigher, build
from inference.programs.support import check_observed
from inference.training.measure import measure
from pyro_models import (
    VAE,
    AutoregressiveBernoulli,
    AutoregressivePixels,
    BernoulliImage,
    BernoulliPixels,
    CategoricalPixels,
    DiscretizedLogistic,
    FlowModel,
    LogisticPixels,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NormalMixture,
    PixelCategorical,
    PixelCNNPixels,
    Quantized,
    StandardNormal,
    UniformCell,
    UniformDequantizer,
    flip_realnvp,
)

SHAPE = (1, 2, 4)


class Stranger(nn.Module):
    """Someone's model without ``levels``, of binary pixels or, in spread, of all numbers from 0 to 1."""

    def __init__(self, spread: bool = False) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(8))
        self.spread = spread

    def forward(self, x, labels=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            logits = (z.sum(-1, keepdim=True) + self.bias).unflatten(-1, SHAPE)
            p = dist.ContinuousBernoulli(logits=logits) if self.spread else dist.Bernoulli(logits=logits)
            pyro.sample("x", p.to_event(3), obs=x)


def vae(likelihood):
    decoder = MLPDecoder(2, SHAPE, [4], per_pixel=likelihood.per_pixel)
    return VAE(StandardNormal(2), decoder, likelihood), guide(likelihood.levels)


def guide(levels=2):
    return MeanFieldGuide(MLPEncoder(SHAPE, [4], levels=levels), 2)


# pairs, whether their likelihood alone can be asked for a threshold, and the largest pixel
PAIRS = {
    "Bernoulli": (lambda: vae(BernoulliPixels()), 1),
    "autoregressive": (lambda: vae(AutoregressivePixels(SHAPE)), 1),
    "pixel CNN": (lambda: vae(PixelCNNPixels(SHAPE, channels=2)), 1),
    "categorical": (lambda: vae(CategoricalPixels(4)), 3),
    "logistic": (lambda: vae(LogisticPixels(4)), 3),
    "flow": (lambda: (FlowModel(flip_realnvp(SHAPE, hidden=[4]), 4), UniformDequantizer(4)), 3),
    "a stranger's": (lambda: (Stranger(), guide()), 1),
}
FUNCTIONS = {
    "log_weights": lambda pair, x: inference.log_weights(*pair, x, 5),
    "log_weights in chunks": lambda pair, x: inference.log_weights(*pair, x, 5, chunk_size=2),
    "Weigher": lambda pair, x: Weigher(*pair, pairs=0)(5, x),
}


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_values_outside_the_support_are_refused_whether_pyro_checks_or_not(name, function, checked):
    make, largest = PAIRS[name]
    pair, x = make(), torch.full((3, *SHAPE), float(largest))
    with pyro.validation_enabled(checked):
        assert torch.isfinite(FUNCTIONS[function](pair, x)).all()
        for wrong in (0.5, largest + 1.0, -1.0):
            x[2, 0, 1, 3] = wrong
            with pytest.raises(
                ValueError, match=rf"{wrong:g} at 1 of \d+ places|1 of \d+ are not, such as {wrong:g}"
            ) as error:
                FUNCTIONS[function](pair, x)
            assert len(str(error.value).partition("Trace Shapes")[0].strip().splitlines()) == 1


def grey(count: int = 20) -> Images:
    """Integer pixels, of which the first two images alone hold no 2."""
    pixels = torch.randint(0, 2, (count, *SHAPE)).byte()
    pixels[-1, 0, 0, 0] = 2
    return Images("grey", pixels, torch.zeros(count), 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda pair: inference.fit(*pair, grey(), grey(), Settings(epochs=1, device="cpu")),
        lambda pair: measure(*pair, grey(), 10),
        lambda pair: inference.negative_bounds(*pair, grey(), [2], 1),
        lambda pair: inference.diagnose(*pair, grey(), 20, 20, 20),
        lambda pair: inference.check_pair(*pair, grey(), Trace_ELBO()),
        lambda pair: inference.collapse_threshold(BernoulliPixels(), grey().observe()),
    ],
)
def test_data_sets_of_which_one_image_is_outside_are_refused(function):
    with pytest.raises(ValueError, match=r"shown 2 at 1 of|x holds 2 at 1 of"):
        function((Stranger(), guide()))


def test_a_compiled_weigher_refuses_them_too():
    model, own = build(described_vae((1, 2, 4), [4])).values()
    x = torch.rand(3, *SHAPE).round()
    weigher = Weigher(model, own, pairs=10**9, backend="eager")
    with pyro.validation_enabled(False):
        assert weigher(5, x).shape == (5, 3)
        assert weigher._compiler.graph is not None
        with pytest.raises(ValueError, match="'x' is shown 0.5 at 24 of 24 places, but a BernoulliImage takes 0 or 1"):
            weigher(5, torch.full((3, *SHAPE), 0.5))


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "a stranger's"])
def test_our_models_called_directly_refuse_them_as_far_as_pyro_checks(name):
    make, largest = PAIRS[name]
    model, own = make()
    x = torch.full((3, *SHAPE), largest + 1.0)
    with pytest.raises(ValueError, match=f"pixels must be .*; 24 of 24 are not, such as {largest + 1}"):
        model(x)
    with pyro.validation_enabled(False):
        model(x)
    if isinstance(own, UniformDequantizer):
        with pytest.raises(ValueError, match="whole numbers from 0 to 3.* such as 0.5"):
            own(torch.full((3, *SHAPE), 0.5))


def test_what_a_support_allows_is_not_refused():
    x = torch.rand(3, *SHAPE)
    assert torch.isfinite(inference.log_weights(Stranger(spread=True), guide(), x, 5)).all()


def traced(fn, value, mask=None):
    def model():
        with pyro.plate("data", 3):
            return pyro.sample("x", fn, obs=value, obs_mask=None)

    program = model if mask is None else pyro.poutine.mask(model, mask=mask)
    return pyro.poutine.trace(program).get_trace()


@pytest.mark.parametrize(
    ("fn", "mask"),
    [
        (dist.Bernoulli(torch.full((3,), 0.5)).mask(torch.tensor([True, False, True])), None),
        (dist.Bernoulli(torch.full((3, 2), 0.5)).mask(torch.tensor([[1, 1], [0, 0], [1, 1]]).bool()).to_event(1), None),
        (dist.Bernoulli(torch.full((3,), 0.5)), torch.tensor([True, False, True])),
    ],
)
def test_masked_values_may_be_anything(fn, mask):
    value = torch.ones(3, *fn.event_shape)
    value[1] = 0.5
    check_observed(traced(fn, value, mask))
    value[2] = 0.5
    with pytest.raises(ValueError, match="0.5"):
        check_observed(traced(fn, value, mask))


def test_a_support_that_depends_on_the_latents_must_hold_the_value_for_one_particle():
    high = torch.tensor([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]])
    p = dist.Uniform(torch.zeros(2, 3), high)
    check_observed(traced(p, torch.tensor([0.5, 2.0, 2.0])))
    with pytest.raises(ValueError, match="1 of 3 observations"):
        check_observed(traced(p, torch.tensor([0.5, 2.0, 4.0])))


DISTRIBUTIONS = {
    "BernoulliImage": lambda on: (BernoulliImage(torch.zeros(SHAPE), on), 0.5),
    "AutoregressiveBernoulli": lambda on: (AutoregressiveBernoulli(torch.zeros(SHAPE), torch.zeros_like, on), 0.5),
    "PixelCategorical": lambda on: (PixelCategorical(logits=torch.zeros(4), validate_args=on), 0.5),
    "DiscretizedLogistic": lambda on: (DiscretizedLogistic(torch.zeros(()), torch.ones(()), 4, on), 0.5),
    "NormalMixture": lambda on: (NormalMixture(torch.zeros(2), torch.zeros(2, 3), torch.ones(2, 3), on), torch.nan),
    "Quantized": lambda on: (Quantized(torch.full(SHAPE, 0.3), 4, 3, on), 0.5),
    "UniformCell": lambda on: (UniformCell(torch.ones(SHAPE), 4, 3, on), 5.0),
}


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_expand_keeps_the_validation_that_was_asked_for(name, on):
    with pyro.validation_enabled(not on):
        p, wrong = DISTRIBUTIONS[name](on)
        expanded = p.expand([3])
        assert expanded.batch_shape == (3,)
        value = torch.full((3, *p.event_shape), wrong)
        if on:
            with pytest.raises(ValueError, match="support|must be whole numbers"):
                expanded.log_prob(value)
        else:
            assert expanded.log_prob(value).shape == (3,)
