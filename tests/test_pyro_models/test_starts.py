"""From where parts start, all of their weights can move: none waits for another that waits for it."""

import inspect
import math

import pytest
import torch
from torch import nn

from inference import Trace_ELBO, set_seed
from pyro_models import (
    VAE,
    DensityModel,
    FlowModel,
    GaussianVectors,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NoLatents,
    StandardNormal,
    TwoLevelVAE,
    UniformDequantizer,
    masked_realnvp,
)
from pyro_models.parts import PARTS

SHAPE, DIM, LEVELS, CLASSES = (1, 4, 4), 2, 3, 3
KNOWN = {"latent_dim": DIM, "image_shape": SHAPE, "size": math.prod(SHAPE), "levels": LEVELS, "top_dim": 1}


def takes(part, name: str) -> bool:
    return name in inspect.signature(part).parameters


def made(part, **more) -> nn.Module:
    """The part as it starts, with those of the known arguments that it has."""
    return part(**{name: value for name, value in (KNOWN | more).items() if takes(part, name)})


def pair_with(role: str, part, **options) -> tuple[nn.Module, nn.Module]:
    """A model with a guide that suits it; the part is one of the two, or inside one."""
    encoder, decoder = MLPEncoder(SHAPE, [4]), MLPDecoder(DIM, SHAPE, [4])
    guide = MeanFieldGuide(encoder, DIM)
    if role == "flow":
        flow = made(part, **options)
        return (
            (DensityModel(flow), NoLatents())
            if takes(part, "size")
            else (FlowModel(flow, LEVELS), UniformDequantizer(LEVELS))
        )
    if role == "guide":
        model = VAE(StandardNormal(DIM), decoder)
        if takes(part, "top_dim"):
            model = TwoLevelVAE(StandardNormal(1), decoder, DIM, 1)
        elif takes(part, "levels"):
            model = FlowModel(masked_realnvp(SHAPE, 2, [4]), LEVELS)
        return model, made(part, encoder=encoder, model=model, **options)
    if role == "prior":
        classes = CLASSES if takes(part, "context") else 0
        decoder = MLPDecoder(DIM, SHAPE, [4], context=classes)
        guide = MeanFieldGuide(MLPEncoder(SHAPE, [4], context=classes), DIM, num_classes=classes)
        return VAE(made(part, guide=guide, context=classes, **options), decoder, num_classes=classes), guide
    if role == "decoder":
        return VAE(StandardNormal(DIM), made(part, **options)), guide
    if role == "encoder":
        return VAE(StandardNormal(DIM), decoder), MeanFieldGuide(made(part, **options), DIM)
    likelihood = made(part, **options)
    return VAE(StandardNormal(DIM), MLPDecoder(DIM, SHAPE, [4], per_pixel=likelihood.per_pixel), likelihood), guide


ROLES = ("prior", "guide", "flow", "likelihood", "decoder", "encoder")
CASES = [
    (role, part, options)
    for role in ROLES
    for part in PARTS[role]
    for options in ({}, {"components": 2})
    if part not in (NoLatents, GaussianVectors) and all(takes(part, name) for name in options)
]


@pytest.mark.parametrize(("role", "part", "options"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_weight_moves(role, part, options):
    set_seed(0)
    model, guide = pair_with(role, part, **options)
    weights = dict([*model.named_parameters(), *guide.named_parameters()])
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    optimiser = torch.optim.Adam(weights.values(), lr=1e-3)
    x = torch.randint(0, 2, (20, *(SHAPE if not isinstance(model, DensityModel) else [math.prod(SHAPE)]))).float()
    labels = [torch.arange(20) % CLASSES] if getattr(model, "num_classes", 0) else []
    for _ in range(5):
        optimiser.zero_grad()
        Trace_ELBO().differentiable_loss(model, guide, x, *labels).backward()
        optimiser.step()
    assert not [name for name, weight in weights.items() if torch.equal(weight, before[name])]
