"""Every pair of this project as a recorded graph: the loss and the gradients that it has without."""

import gc
import itertools
import warnings
from functools import partial

import pyro
import pytest
import torch
from conftest import randomise
from test_combinations import GUIDES, NOT_HELD, OBJECTIVES, PAIRS, SHAPE, make_pair
from test_vector_vaes import CASES as VECTORS
from test_vectors import REAL

from inference import CompiledELBO, ELBOWithTerms, Images, Settings, Trace_ELBO, fit, set_seed
from pyro_models import (
    VAE,
    ActNorm,
    AutoregressivePixels,
    ConvDecoder,
    ConvEncoder,
    DensityModel,
    FlowDequantizer,
    FlowModel,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NoLatents,
    StandardNormal,
    TopDownGuide,
    TwoLevelVAE,
    UniformDequantizer,
    flip_realnvp,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
)

FLOWS = {
    "flip": ((1, 4, 4), lambda shape: flip_realnvp(shape, 2, [8])),
    "masked": ((1, 4, 4), lambda shape: masked_realnvp(shape, 2, [8])),
    "image": ((1, 4, 4), lambda shape: image_realnvp(shape, 2, 1, 1, 1, 1)),
    "multi-scale": ((1, 8, 8), lambda shape: multiscale_realnvp(shape, 2, 2, 1, 1, 1)),
}
DEQUANTIZERS = {
    "uniform": lambda shape: UniformDequantizer(4),
    "flow": lambda shape: FlowDequantizer(shape, 4, 2, 2, 1),
}
# Pyro's inverse of an autoregressive map indexes by the elements of a tensor
NOT_RECORDED = {("vamp", "iaf"), ("iaf", "stl"), ("iaf", "dreg")}
# each pair with one objective, each objective with several pairs
CASES = [
    (*pair, name)
    for pair, name in zip(PAIRS, itertools.cycle(OBJECTIVES), strict=False)
    if (pair[1], name) not in NOT_HELD | NOT_RECORDED and pair not in NOT_RECORDED
]


def assert_alike(objective: ELBOWithTerms, *data: torch.Tensor) -> None:
    compiled = CompiledELBO(objective, backend="eager").train()
    results = []
    with pyro.validation_enabled(False):
        objective(*data)  # what initialises itself by data does so here
        for module in (compiled, objective):
            set_seed(1)
            module.zero_grad()
            loss, terms = module(*data)
            loss.backward()
            results.append((loss, tuple(terms), {name: p.grad for name, p in objective.named_parameters()}))
    assert compiled._compiler.graph is not None
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(("prior", "guide", "objective"), CASES, ids=[", ".join(names) for names in CASES])
def test_priors_and_guides(float64, prior, guide, objective):
    assert_alike(ELBOWithTerms(OBJECTIVES[objective](), *make_pair(prior, guide)), torch.rand(6, *SHAPE).round())


def test_the_cases_cover_every_guide_and_objective():
    assert {case[1] for case in CASES} == GUIDES.keys()
    assert {case[2] for case in CASES} == OBJECTIVES.keys()


def test_a_graph_is_whole_whenever_garbage_is_collected(float64):
    """Pyro's traces are cycles that hold tensors: with torch 2.6, collecting them tore holes in the record."""
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        assert_alike(ELBOWithTerms(OBJECTIVES["renyi"](), *make_pair("normal", "iaf")), torch.rand(6, *SHAPE).round())
    finally:
        gc.set_threshold(*before)
    assert gc.isenabled()


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("dequantizer", DEQUANTIZERS)
def test_flows(float64, flow, dequantizer):
    shape, make = FLOWS[flow]
    model, guide = FlowModel(make(shape), 4), DEQUANTIZERS[dequantizer](shape)
    pair = ELBOWithTerms(Trace_ELBO(), randomise(model, 0.1), randomise(guide, 0.1))
    assert_alike(pair, torch.randint(0, 4, (5, *shape)).double())


def test_two_levels_convolutions_labels_and_pixels_in_order(float64):
    shape = (1, 4, 4)
    two = TwoLevelVAE(StandardNormal(2), MLPDecoder(5, shape, [8]), 3, 2, hidden=[8], skip=True)
    for couplings in (0, 2):
        guide = TopDownGuide(MLPEncoder(shape, [8]), 3, 2, couplings=couplings)
        assert_alike(ELBOWithTerms(Trace_ELBO(), randomise(two), randomise(guide)), torch.rand(6, *shape).round())
    given = VAE(StandardNormal(2), ConvDecoder(2, shape, 2, context=3), AutoregressivePixels(shape), num_classes=3)
    of_labels = MeanFieldGuide(ConvEncoder(shape, 2, context=3), 2, num_classes=3)
    labels = torch.arange(6) % 3
    assert_alike(
        ELBOWithTerms(Trace_ELBO(), randomise(given), randomise(of_labels)), torch.rand(6, *shape).round(), labels
    )


@pytest.mark.parametrize(
    "pair", ["vamp, full rank", "flow, iaf", "mixture, semi-amortised", "bottom up", "top down, skip, vamp"]
)
def test_vaes_of_vectors(float64, pair):
    assert_alike(ELBOWithTerms(Trace_ELBO(), *VECTORS[pair]()), torch.randn(6, 4))


@pytest.mark.parametrize(("flow", "classes"), [("realnvp", 0), ("realnvp", 3), ("NSF", 0), ("MAF", 3)])
def test_flows_over_vectors_without_latents(float64, flow, classes):
    model = randomise(DensityModel(REAL[flow](3, context=classes), classes), 0.2)
    labels = (torch.arange(6) % 3,) if classes else ()
    assert_alike(ELBOWithTerms(Trace_ELBO(), model, NoLatents()), torch.randn(6, 3), *labels)


def test_what_initialises_itself_by_data_does_so_before_it_is_compiled(monkeypatch):
    monkeypatch.setattr("inference.training.steps.CompiledELBO", partial(CompiledELBO, backend="eager"))
    pixels = torch.randint(0, 4, (12, 1, 4, 4)).byte()
    images, rows = Images("test", pixels, torch.zeros(12).long(), 4), {}
    for how in ("on", "off"):
        set_seed(0)
        model = FlowModel(image_realnvp((1, 4, 4), 2, 1, 1, 2, 1), 4)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "training runs without")
            settings = Settings(epochs=2, batch_size=4, compile=how, device="cpu")
            rows[how] = fit(model, UniformDequantizer(4), images, images, settings)
        norms = [part for part in model.modules() if isinstance(part, ActNorm)]
        assert norms
        assert all(bool(norm.initialised) for norm in norms)
    for on, off in zip(rows["on"], rows["off"], strict=True):
        assert on["test_negative_elbo"] == pytest.approx(off["test_negative_elbo"], rel=1e-4)
