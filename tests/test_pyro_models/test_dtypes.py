"""Every part computes in the precision of its weights and data, whatever the default type is."""

from functools import partial

import pyro
import pytest
import torch
from conftest import randomise
from pyro import poutine
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inference.programs.terms import sample_sites
from pyro_models import (
    VAE,
    AutoregressivePixels,
    BernoulliPixels,
    CategoricalPixels,
    ClassNormal,
    ConvDecoder,
    ConvEncoder,
    DensityModel,
    FlowDequantizer,
    FlowGuide,
    FlowModel,
    FlowPrior,
    FullRankGuide,
    GaussianMixture,
    GaussianVectors,
    IAFGuide,
    LogisticPixels,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NoLatents,
    PixelCNNPixels,
    SemiAmortizedGuide,
    StandardNormal,
    TopDownGuide,
    TwoLevelGuide,
    TwoLevelVAE,
    UniformDequantizer,
    VampPrior,
    ZukoFlow,
    ZukoPrior,
    flip_realnvp,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
    vector_realnvp,
)
from pyro_models.parts import PARTS

SHAPE, DIM, CLASSES, B = (1, 4, 4), 2, 3, 5
Pair = tuple[nn.Module, nn.Module, Tensor, tuple[Tensor, ...]]  # model, guide, x, and labels if it takes any


def of_binary_pixels(prior=StandardNormal, guide=MeanFieldGuide, likelihood=None, **options) -> Pair:
    """A VAE with labels, so that every part that can take a context has one."""
    q = guide(MLPEncoder(SHAPE, [8], context=CLASSES, noise=0.1), DIM, num_classes=CLASSES, **options)
    decoder = MLPDecoder(DIM, SHAPE, [8], context=CLASSES, latent_dropout=0.1)
    p = VAE(prior(DIM), decoder, likelihood, CLASSES)
    return p, q, torch.rand(B, *SHAPE).round(), (torch.arange(B) % CLASSES,)


def of_grey_pixels(likelihood) -> Pair:
    decoder = ConvDecoder(DIM, SHAPE, 2, per_pixel=likelihood.per_pixel)
    guide = MeanFieldGuide(ConvEncoder(SHAPE, 2, features=8, levels=4), DIM)
    return VAE(StandardNormal(DIM), decoder, likelihood), guide, torch.arange(B * 16).reshape(B, *SHAPE) % 4, ()


def of_vectors(likelihood) -> Pair:
    decoder = MLPDecoder(DIM, (4,), [8], per_pixel=likelihood.per_pixel)
    guide = MeanFieldGuide(MLPEncoder((4,), [8], levels=None), DIM)
    return VAE(VampPrior(guide, (4,), 3, levels=None), decoder, likelihood), guide, torch.randn(B, 4), ()


def semi_amortised() -> Pair:
    p = VAE(StandardNormal(DIM), MLPDecoder(DIM, SHAPE, [8]))
    return p, SemiAmortizedGuide(MLPEncoder(SHAPE, [8]), DIM, p), torch.rand(B, *SHAPE).round(), ()


def vamp() -> Pair:
    q = FullRankGuide(MLPEncoder(SHAPE, [8]), DIM)
    return VAE(VampPrior(q, SHAPE, 3), MLPDecoder(DIM, SHAPE, [8])), q, torch.rand(B, *SHAPE).round(), ()


def of_two_levels(guide) -> Pair:
    p = TwoLevelVAE(StandardNormal(DIM), MLPDecoder(3, SHAPE, [8], context=CLASSES), 3, DIM, num_classes=CLASSES)
    q = guide(MLPEncoder(SHAPE, [8], context=CLASSES), 3, DIM, num_classes=CLASSES)
    return p, q, torch.rand(B, *SHAPE).round(), (torch.arange(B) % CLASSES,)


def of_a_flow(flow, guide=None, **options) -> Pair:
    model = FlowModel(flow(SHAPE, context=CLASSES, **options), 4, CLASSES)
    x = torch.arange(B * 16).reshape(B, *SHAPE) % 4
    return model, guide or UniformDequantizer(4), x, (torch.arange(B) % CLASSES,)


def of_a_density(flow, *options) -> Pair:
    model = DensityModel(flow(4, *options, context=CLASSES), CLASSES)
    return model, NoLatents(), torch.randn(B, 4), (torch.arange(B) % CLASSES,)


SMALL = {"channels": 2, "blocks": 1}
CASES = {
    "StandardNormal": of_binary_pixels,
    "GaussianMixture": lambda: of_binary_pixels(GaussianMixture),
    "VampPrior": vamp,
    "FlowPrior": lambda: of_binary_pixels(lambda size: FlowPrior(size, context=CLASSES)),
    "ZukoPrior": lambda: of_binary_pixels(ZukoPrior),
    "ZukoPrior, MAF": lambda: of_binary_pixels(lambda size: ZukoPrior(size, "MAF")),
    "ClassNormal": lambda: of_binary_pixels(lambda size: ClassNormal(size, CLASSES)),
    "FullRankGuide": lambda: of_binary_pixels(guide=FullRankGuide),
    "FlowGuide": lambda: of_binary_pixels(guide=FlowGuide),
    "IAFGuide": lambda: of_binary_pixels(guide=IAFGuide),
    "SemiAmortizedGuide": semi_amortised,
    "TwoLevelGuide": lambda: of_two_levels(TwoLevelGuide),
    "TopDownGuide": lambda: of_two_levels(TopDownGuide),
    "TopDownGuide, flows": lambda: of_two_levels(partial(TopDownGuide, couplings=2)),
    "BernoulliPixels": lambda: of_grey_pixels(BernoulliPixels())[:2] + of_binary_pixels()[2:3] + ((),),
    "AutoregressivePixels": lambda: of_binary_pixels(likelihood=AutoregressivePixels(SHAPE, hidden=[16])),
    "PixelCNNPixels": lambda: of_binary_pixels(likelihood=PixelCNNPixels(SHAPE, channels=2)),
    "CategoricalPixels": lambda: of_grey_pixels(CategoricalPixels(4)),
    "LogisticPixels": lambda: of_grey_pixels(LogisticPixels(4)),
    "GaussianVectors": lambda: of_vectors(GaussianVectors((4,))),
    "GaussianVectors, scale_from_decoder": lambda: of_vectors(GaussianVectors((4,), scale_from_decoder=True)),
    "flip_realnvp": lambda: of_a_flow(flip_realnvp, hidden=[8]),
    "masked_realnvp": lambda: of_a_flow(masked_realnvp, hidden=[8]),
    "image_realnvp": lambda: of_a_flow(image_realnvp, **SMALL),
    "multiscale_realnvp": lambda: of_a_flow(multiscale_realnvp, FlowDequantizer(SHAPE, 4, 2, **SMALL), **SMALL),
    "vector_realnvp": lambda: of_a_density(vector_realnvp),
    "ZukoFlow": lambda: of_a_density(ZukoFlow),
    "ZukoFlow, MAF": lambda: of_a_density(ZukoFlow, "MAF"),
}


class Recorded(TorchDispatchMode):
    """The floating types of whatever is computed, except single numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[torch.dtype, set[str]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel() > 1:
                self.found.setdefault(tensor.dtype, set()).add(str(func))
        return result


def tensors_of(trace: poutine.Trace):
    trace.compute_log_prob()
    for name, site in sample_sites(trace).items():
        for part in ("value", "log_prob", "unscaled_log_prob"):
            if isinstance(site.get(part), Tensor) and site[part].is_floating_point():
                yield f"{name}: {part}", site[part]


def run(case: str, dtype: torch.dtype, default: torch.dtype) -> Recorded:
    """Make a pair, let it see data and draw, and check everything in its traces."""
    model, guide, x, labels = CASES[case]()
    model, guide = (randomise(half, 0.1).to(dtype) for half in (model, guide))
    torch.set_default_dtype(default)
    with Recorded() as recorded:
        x = x.to(dtype)
        guide_trace = poutine.trace(guide).get_trace(x, *labels)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(x, *labels)
        drawn = poutine.trace(model).get_trace(None, *labels)
        for trace in (guide_trace, model_trace, drawn):
            for name, tensor in tensors_of(trace):
                assert tensor.dtype == dtype, name
        model_trace.log_prob_sum().backward()
    for half in (model, guide):
        for name, parameter in half.named_parameters():
            assert parameter.dtype == dtype, name
            assert parameter.grad is None or parameter.grad.dtype == dtype, name
    return recorded


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_computed_in_less_than_double_precision(case):
    found = run(case, torch.float64, torch.float32).found
    assert found.keys() == {torch.float64}, {kind: found[kind] for kind in found if kind != torch.float64}


@pytest.mark.parametrize("case", CASES)
def test_single_precision_stays_single_when_the_default_is_double(case):
    run(case, torch.float32, torch.float64)


def test_the_cases_cover_every_part():
    made = {case.partition(",")[0] for case in CASES}
    for make in CASES.values():
        model, guide, *_ = make()
        made |= {type(module).__name__ for half in (model, guide) for module in half.modules()}
    pyro.clear_param_store()
    assert {part.__name__ for parts in PARTS.values() for part in parts} <= made
