"""What ``inference`` asks of programs by attribute is written down, and the parts that ship have it."""

import ast

import pytest
import torch
from conftest import ROOT

import inference
from inference import STL, BetaELBO, DataSet, DReG, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from inference.programs import protocols
from pyro_models import (
    VAE,
    AutoregressivePixels,
    BernoulliPixels,
    CategoricalPixels,
    FlowDequantizer,
    FlowGuide,
    FlowModel,
    FullRankGuide,
    LogisticPixels,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    PixelCNNPixels,
    SemiAmortizedGuide,
    StandardNormal,
    UniformDequantizer,
    flip_realnvp,
)

SHAPE = (1, 2, 2)
# attributes of Python, PyTorch and Pyro, or of what this package makes itself
ELSEWHERE = {
    *("matmul", "fp32_precision"),
    *("fn", "tags", "unconstrained", "vectorize_particles", "device_count", "forward", "n_frames", "shape"),
    *("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "strerror", "__name__", "__self__", "__dict__", "__file__"),
    *("response", "status_code"),  # of an answer by HTTP
}


def encoder(**options) -> MLPEncoder:
    return MLPEncoder(SHAPE, [4], **options)


def vae(**options) -> VAE:
    return VAE(StandardNormal(2), MLPDecoder(2, SHAPE, [4]), **options)


PARTS = {
    "VAE": (vae, {"levels": 2, "num_classes": 0}),
    "FlowModel": (lambda: FlowModel(flip_realnvp(SHAPE, pairs=1, hidden=[4]), 4), {"levels": 4, "num_classes": 0}),
    "MeanFieldGuide": (lambda: MeanFieldGuide(encoder(context=3), 2, num_classes=3), {"num_classes": 3}),
    "FullRankGuide": (lambda: FullRankGuide(encoder(), 2), {"num_classes": 0}),
    "FlowGuide": (lambda: FlowGuide(encoder(), 2), {"num_classes": 0}),
    "SemiAmortizedGuide": (
        lambda: SemiAmortizedGuide(encoder(), 2, vae()),
        {"num_classes": 0, "random_density": True},
    ),
    "UniformDequantizer": (lambda: UniformDequantizer(4), {"levels": 4}),
    "FlowDequantizer": (lambda: FlowDequantizer(SHAPE, 4), {"levels": 4}),
    "BernoulliPixels": (BernoulliPixels, {"per_pixel": 1}),
    "AutoregressivePixels": (lambda: AutoregressivePixels(SHAPE), {"per_pixel": 1}),
    "PixelCNNPixels": (lambda: PixelCNNPixels(SHAPE), {"per_pixel": 1}),
    "CategoricalPixels": (lambda: CategoricalPixels(5), {"per_pixel": 5}),
    "LogisticPixels": (lambda: LogisticPixels(5), {"per_pixel": 2}),
    **{kind.__name__: (kind, {"differentiable_loss": ...}) for kind in (Trace_ELBO, TraceMeanField_ELBO)},
    **{kind.__name__: (kind, {"differentiable_loss": ...}) for kind in (RenyiELBO, DReG, STL)},
    "BetaELBO": (lambda: BetaELBO(0.3), {"differentiable_loss": ..., "progress": 1.0, "annealed": ...}),
}
PROTOCOLS = {
    "levels": protocols.KnowsLevels,
    "num_classes": protocols.KnowsClasses,
    "random_density": protocols.HasRandomDensity,
    "per_pixel": protocols.KnowsNumbersPerPixel,
    "differentiable_loss": protocols.HasDifferentiableLoss,
    "progress": protocols.FollowsProgress,
    "annealed": protocols.Anneals,
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_have_the_attributes_of_the_protocols(name):
    make, expected = PARTS[name]
    part = make()
    for attribute, value in expected.items():
        assert isinstance(part, PROTOCOLS[attribute]), attribute
        assert callable(getattr(part, attribute)) if value is ... else getattr(part, attribute) == value
    others = {"random_density", "per_pixel", "differentiable_loss", "progress", "annealed"} - expected.keys()
    assert not any(isinstance(part, PROTOCOLS[attribute]) for attribute in others)


def test_every_attribute_that_is_asked_for_is_written_down():
    asked = set()
    for file in (ROOT / "inference").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            if name in ("getattr", "hasattr") and isinstance(node.args[1], ast.Constant):
                asked.add(node.args[1].value)
    of_data = {name for name in asked if f"``{name}``" in DataSet.__doc__ or f"``{name}(x)``" in DataSet.__doc__}
    assert {"levels", "restore", "labels"} <= of_data
    assert asked - ELSEWHERE - of_data <= PROTOCOLS.keys()
    assert {"levels", "num_classes", "random_density", "per_pixel", "progress", "annealed"} <= asked


def test_a_stranger_without_any_of_them_is_fitted():
    """What happens without an attribute is that nothing is checked, or changes."""

    class Bare(torch.nn.Module):
        def __init__(self, program):
            super().__init__()
            self.program = program

        def forward(self, x):
            return self.program(x)

    images = inference.binarise(inference.load_dataset("digits")[0].take(slice(20)), "threshold")
    decoder = MLPDecoder(2, images.image_shape, [4])
    pair = Bare(VAE(StandardNormal(2), decoder)), Bare(MeanFieldGuide(MLPEncoder(images.image_shape, [4]), 2))
    assert not any(isinstance(half, kind) for half in pair for kind in PROTOCOLS.values())
    settings = inference.Settings(epochs=1, batch_size=10, device="cpu")
    assert len(inference.fit(*pair, images, images, settings, show=None)) == 1
    assert inference.log_weights(*pair, images.observe(), 3).shape == (3, 20)
