"""Mistakes of a newcomer or a researcher: each message says what was wrong, what was expected, and what to do."""

import math
from collections.abc import Callable
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import JitTrace_ELBO, TraceGraph_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import Tensor, nn

import pyro_models as models
from inference import Images, Trace_ELBO, check_pair, log_weights

SHAPE = (1, 4, 4)
PIXELS = (torch.arange(6 * 16).reshape(6, *SHAPE) % 3 == 0).byte()
BITS = Images("bits", PIXELS, torch.arange(6) % 3, 2, "static")
GREY = Images("grey", PIXELS, torch.arange(6) % 3, 4)


class Part(nn.Module):
    """A part of a user's: ``returned`` makes what its forward returns."""

    def __init__(self, returned: Callable, **attributes) -> None:
        super().__init__()
        self.returned = returned
        self.weight = nn.Parameter(torch.zeros(2))
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, *given):
        return self.returned(self.weight, *given)


class Program(PyroModule):
    """A program of a user's."""

    def __init__(self, body: Callable) -> None:
        super().__init__()
        self.body = body
        self.to_code, self.to_image = nn.Linear(16, 2), nn.Linear(2, 16)

    def forward(self, *given):
        return self.body(self, *given)

    def code(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.to_code(x.flatten(-3)), 1.0)

    def image(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=self.to_image(z).unflatten(-1, SHAPE))


class WithoutForward(nn.Module):
    pass


def encoder(shape=SHAPE) -> nn.Module:
    return models.MLPEncoder(shape, [4])


def decoder(latent_dim: int = 2, shape=SHAPE, **options) -> nn.Module:
    return models.MLPDecoder(latent_dim, shape, [4], **options)


def guide(latent_dim: int = 2) -> nn.Module:
    return models.MeanFieldGuide(encoder(), latent_dim)


def vae(prior: nn.Module | None = None, **options) -> nn.Module:
    return models.VAE(prior or models.StandardNormal(2), **{"decoder": decoder(), **options})


def own_prior(returned: Callable) -> nn.Module:
    return vae(Part(returned))


def own_guide(site: str = "z", plate: bool = True, event: int = 1, **options) -> nn.Module:
    def body(self, x):
        size = len(x)
        with pyro.plate("data", size) if plate else pyro.poutine.scale(scale=1.0):
            pyro.sample(site, self.code(x).to_event(event), **{k: f(x) for k, f in options.items()})

    return Program(body)


def own_model(
    plate: int | None = None, observes: bool = True, event: int = 3, site: str = "x", subsample: int | None = None
) -> nn.Module:
    def body(self, x):
        with pyro.plate("data", plate or len(x), subsample_size=subsample):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample(site, self.image(z).to_event(event), obs=x if observes else None)

    return Program(body)


def drawn_weights() -> nn.Module:
    """A decoder whose weights are latents of all images."""
    layer = PyroModule[nn.Linear](2, 16)
    layer.weight = PyroSample(dist.Normal(0.0, 1.0).expand([16, 2]).to_event(2))
    return vae(decoder=PyroModule[nn.Sequential](layer, nn.Unflatten(-1, SHAPE)))


class WithoutPosterior(models.AmortizedGuide):
    pass


def all_at_once() -> tuple[nn.Module, nn.Module]:
    """One density for the whole batch: Pyro minds nothing, and every mean over images would be wrong."""

    def model(self, x):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(2))
        pyro.sample("x", self.image(z).to_event(4), obs=x)

    return Program(model), own_guide(plate=False, event=2)


def flow(returned: Callable) -> nn.Module:
    return models.FlowModel(Part(returned), 4)


def conditional() -> nn.Module:
    return vae(num_classes=3, decoder=decoder(context=3))


# what is run, and what its message must hold
PAIRS = {
    "a prior without event dimensions": (
        lambda: (own_prior(lambda w: dist.Normal(w, 1.0)), guide()),
        r"\.to_event\(1\)",
    ),
    "a prior of one number": (lambda: (own_prior(lambda w: dist.Normal(0.0, 1.0)), guide()), r"\.to_event\(1\)"),
    "a prior that returns a tensor": (
        lambda: (own_prior(lambda w: w), guide()),
        "must return a distribution.*Parameter",
    ),
    "a prior that returns nothing": (
        lambda: (own_prior(lambda w: None), guide()),
        "must return a distribution.*NoneType",
    ),
    "a prior of another size": (
        lambda: (vae(models.StandardNormal(3)), guide()),
        r"\(3,\) in the model but \(2,\) in the guide",
    ),
    "a prior that wants an argument": (
        lambda: (own_prior(lambda w, x: dist.Normal(w, 1.0).to_event(1)), guide()),
        "missing 1 required.*in its prior",
    ),
    "a prior with a slip": (
        lambda: (own_prior(lambda w: dist.Nromal(w, 1.0)), guide()),
        r"Nromal.*prior.*py, line \d+",
    ),
    "a decoder of another code": (lambda: (vae(decoder=decoder(3)), guide()), "in its decoder.*Linear.*latent_dim"),
    "a decoder that returns two things": (
        lambda: (vae(decoder=Part(lambda w, z: (z, z))), guide()),
        "must return a tensor.*tuple",
    ),
    "a decoder of other images": (lambda: (vae(decoder=decoder(2, (1, 5, 5))), guide()), r"\(1, 4, 4\).*\(1, 5, 5\)"),
    "a flat decoder": (lambda: (vae(decoder=nn.Linear(2, 16)), guide()), r"\(C, H, W\)"),
    "a likelihood of two numbers a pixel": (
        lambda: (vae(likelihood=models.LogisticPixels(2)), guide()),
        "takes 2 numbers for each pixel.*per_pixel=2",
    ),
    "a likelihood without event dimensions": (
        lambda: (vae(likelihood=Part(lambda w, raw: dist.Bernoulli(logits=raw))), guide()),
        r"\.to_event\(3\) for an image",
    ),
    "a prior that is no distribution's": (
        lambda: (own_prior(lambda w: dist.StudentT(w - math.nan, 0.0, 1.0).to_event(1)), guide()),
        "invalid values, in its prior",
    ),
    "a guide without forward": (lambda: (vae(), WithoutForward()), "the guide WithoutForward.*AmortizedGuide"),
    "a guide of another latent": (lambda: (vae(), own_guide("code")), "same names"),
    "a guide without a plate": (lambda: (vae(), own_guide(plate=False)), r"pyro\.plate\('data', len\(x\)\)"),
    "a guide without event dimensions": (lambda: (vae(), own_guide(event=0)), r"guide.*\.to_event"),
    "a guide that observes": (
        lambda: (vae(), own_guide(obs=lambda x: torch.zeros(len(x), 2))),
        "leave obs= to the model",
    ),
    "a guide of another size": (lambda: (vae(), guide(3)), r"\(2,\) in the model but \(3,\) in the guide"),
    "a model for a guide": (lambda: (vae(), vae()), "swapped"),
    "model and guide swapped": (lambda: (guide(), vae()), "swapped"),
    "an encoder of other images": (
        lambda: (vae(), models.MeanFieldGuide(encoder((1, 5, 5)), 2)),
        "guide.*in its encoder.*image_shape",
    ),
    "an encoder that gives another size than it says": (
        lambda: (vae(), models.MeanFieldGuide(Part(lambda w, x: x.flatten(-3), out_features=5), 2)),
        r"must return 5 numbers for each image, its out_features.*\(2, 16\)",
    ),
    "a model that observes nothing": (lambda: (own_model(observes=False), guide()), "obs="),
    "an image without event dimensions": (lambda: (own_model(event=0), guide()), r"\.to_event\(3\) for an image"),
    "a model that observes nothing under another name": (
        lambda: (own_model(observes=False, site="y"), guide()),
        "^the model observes nothing",
    ),
    "weights that are drawn": (lambda: (drawn_weights(), guide()), "weights that are drawn.*not supported"),
    "an autoguide": (lambda: (own_model(), AutoNormal(own_model())), "as Pyro's autoguides do.*q.latents"),
    "a guide without a posterior": (
        lambda: (vae(), WithoutPosterior(encoder(), 2, 4)),
        "WithoutPosterior must define posterior",
    ),
    "a plate that subsamples": (lambda: (own_model(subsample=4), guide()), "4 .*size len.x."),
    "a plate of the whole data set": (lambda: (own_model(plate=6), guide()), r"6 places.*size len\(x\)"),
    "one density for all images": (all_at_once, "in no plate"),
    "a program that takes nothing": (lambda: (Program(lambda self: None), guide()), r"forward\(self, x, labels=None\)"),
    "a flow's prior without labels": (lambda: (vae(Part(lambda w: w), num_classes=3), guide()), "conditional=True"),
}
PARTS = {
    "a code too small for a flow": (lambda: models.FlowPrior(1), "latent_dim must be at least 2; got 1"),
    "the same of a guide": (lambda: models.IAFGuide(encoder(), 1), "latent_dim must be at least 2; got 1"),
    "a prior of classes without classes": (lambda: vae(models.ClassNormal(2, 3)), "context of size 3.*num_classes = 0"),
    "image transforms on a vector": (lambda: models.Flow([models.ActNorm(1)], 16), "ReshapeTransform"),
    "a conditioner that returns one tensor": (
        lambda: models.Flow([models.AffineCoupling(nn.Linear(1, 2))], 2)().sample(),
        "a pair as from MLP.*Tensor",
    ),
    "intensities for pixels": (lambda: Images("x", torch.rand(3, *SHAPE), torch.zeros(3), 2), r"uint8.*\.byte\(\)"),
    "grey images without a channel": (lambda: Images("x", PIXELS[:, 0], torch.zeros(6), 2), r"pixels\[:, None\]"),
    "labels as vectors": (lambda: Images("x", PIXELS, torch.eye(6), 2), "one label for each of 6 observations"),
}


@pytest.mark.parametrize("mistake", PAIRS)
def test_a_pair_that_cannot_be_run_says_why(mistake):
    make, message = PAIRS[mistake]
    with pytest.raises(ValueError, match=message) as caught:
        check_pair(*make(), BITS, Trace_ELBO())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("mistake", PARTS)
def test_a_part_that_cannot_be_made_says_why(mistake):
    make, message = PARTS[mistake]
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_flows_say_why_too():
    for returned, message in (
        (lambda w: w, "must return a distribution"),
        (lambda w: dist.Normal(torch.zeros(SHAPE), w.exp().sum()), r"\.to_event"),
        (lambda w: dist.Normal(torch.zeros(16), w.exp().sum()).to_event(1), r"\(16,\).*\(1, 4, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            check_pair(flow(returned), models.UniformDequantizer(4), GREY, Trace_ELBO())
    good = models.FlowModel(models.flip_realnvp(SHAPE, 1, [4]), 4)
    with pytest.raises(ValueError, match="the guide is one of pixels with 16 levels"):
        check_pair(good, models.UniformDequantizer(16), GREY, Trace_ELBO())


@pytest.mark.parametrize(
    ("elbo", "message"), [(TraceGraph_ELBO, "differentiable_loss"), (JitTrace_ELBO, "compile='on'")]
)
def test_an_estimator_that_cannot_serve_says_what_can(elbo, message):
    with pytest.raises(ValueError, match=message):
        check_pair(vae(), guide(), BITS, elbo())


def test_labels_that_the_images_keep_to_themselves():
    with pytest.raises(ValueError, match=r"comes without: dataclasses.replace\(data, conditional=True\)"):
        check_pair(conditional(), guide(), BITS, Trace_ELBO())
    with pytest.raises(ValueError, match="takes no labels"):
        check_pair(vae(), guide(), replace(BITS, conditional=True), Trace_ELBO())


@pytest.mark.parametrize("shape", [(6, 4, 4), (6, 16)])
def test_importance_weights_of_images_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"the guide MeanFieldGuide cannot be run on data of shape"):
        log_weights(vae(), guide(), torch.zeros(shape), 3)
