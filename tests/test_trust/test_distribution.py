"""Right in distribution: calibrated posteriors, evidence by another road, and numbers that depend on nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from scipy.stats import chisquare

sys.path.insert(0, str(Path(__file__).parent.parent / "test_inference"))
from ais import annealed_log_evidence
from linear_gaussian import ExactGuide, LinearGaussian, WideGuide

from inference import Images, Settings, binarise, fit, iwae_bound, load_dataset, log_weights, negative_bounds, set_seed
from inference.programs.importance import log_joint
from inference.programs.terms import draw_traces
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal

DATA_SETS, DRAWS, RANKS = 3000, 400, 20


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("weighted", [True, False])
def test_posterior_draws_by_importance_resampling_are_calibrated(weighted):
    """Of x drawn from the model at z the rank of z among posterior draws given x is uniform.

    Without the weights the guide's own draws are not the posterior's, and the test sees it.

    Source: Talts, Betancourt, Simpson, Vehtari and Gelman, "Validating Bayesian inference algorithms with
    simulation-based calibration" (2018), algorithm 1.
    """
    set_seed(0)
    model = LinearGaussian(noise=0.8)
    z = torch.randn(DATA_SETS, 2)
    x = (z @ model.weight.T + model.offset + 0.8 * torch.randn(DATA_SETS, 3)).detach()
    guide = WideGuide(model, shift=0.2, scale=0.7)
    with torch.no_grad():
        model_trace, guide_trace = draw_traces(model, guide, x, particles=DRAWS)
        log_w = log_joint(model_trace, x) - log_joint(guide_trace, x)
    chosen = torch.multinomial(log_w.T.softmax(1) if weighted else torch.ones(DATA_SETS, DRAWS), RANKS - 1)
    for coordinate in range(2):
        draws = guide_trace.nodes["z"]["value"][..., coordinate].T.gather(1, chosen)
        ranks = (draws < z[:, [coordinate]]).sum(1)
        p = chisquare(torch.bincount(ranks, minlength=RANKS)).pvalue
        assert p > 1e-3 if weighted else p < 1e-6


def test_the_evidence_by_annealed_importance_sampling_is_that_of_5000_samples():
    train, test = (binarise(images, "static") for images in load_dataset("digits"))
    set_seed(0)
    model = VAE(StandardNormal(6), MLPDecoder(6, train.image_shape, [64]))
    guide = MeanFieldGuide(MLPEncoder(train.image_shape, [64]), 6)
    fit(model, guide, train, test, Settings(epochs=30, batch_size=50, lr=3e-3, device="cpu"))
    model, guide = model.eval().double(), guide.eval().double()
    torch.set_default_dtype(torch.float64)
    set_seed(1)
    x = test.take(slice(10)).observe().double()
    by_weights = iwae_bound(log_weights(model, guide, x, 5000), 5000)
    by_annealing, error = annealed_log_evidence(lambda z: model.log_joint(x, z), torch.randn(150, len(x), 6))
    assert error.max() < 0.2
    assert (by_weights - by_annealing).abs().max() < 0.5
    assert ((by_weights - by_annealing) / error.clamp(min=0.02)).abs().mean() < 2
    bound = iwae_bound(log_weights(model, guide, x, 5000), 1)  # the ELBO, which both must exceed
    assert (by_annealing > bound).all()


@pytest.mark.usefixtures("float64")
def test_with_the_exact_posterior_no_size_of_batch_or_chunk_changes_a_number():
    set_seed(0)
    model = LinearGaussian(size=16)
    guide = ExactGuide(model)
    x = torch.randn(23, 16)
    expected = model.log_evidence(x)
    for chunk_size in (1, 7, 50, 10_000):
        log_w = log_weights(model, guide, x, 30, chunk_size)
        torch.testing.assert_close(log_w, expected.expand(30, -1))


def bits(count: int = 200) -> Images:
    generator = torch.Generator().manual_seed(3)
    pixels = (torch.rand(count, 1, 4, 4, generator=generator) < 0.4).byte()
    return Images("bits", pixels, torch.zeros(count).long(), 2, "static")


def test_bounds_do_not_depend_on_batches_chunks_or_the_order_of_images():
    set_seed(0)
    model = VAE(StandardNormal(2), MLPDecoder(2, (1, 4, 4), [8]))
    guide = MeanFieldGuide(MLPEncoder((1, 4, 4), [8]), 2)
    torch.nn.init.normal_(guide.head.weight, std=0.5)
    images = bits()
    reverse = images.take(torch.arange(len(images)).flip(0))
    asked = {"ms": (1, 8), "repeats": 20}
    found = [
        negative_bounds(model, guide, images, **asked),
        negative_bounds(model, guide, images, **asked, batch_size=7, seed=1),
        negative_bounds(model, guide, images, **asked, chunk_size=11, seed=2),
        negative_bounds(model, guide, reverse, **asked, seed=3),
    ]
    for m in (1, 8):
        first, *others = (estimates[m] for estimates in found)
        for other in others:
            error = (first.standard_error**2 + other.standard_error**2) ** 0.5
            assert abs(first.value - other.value) < 4 * error
            assert other.standard_error_over_images == pytest.approx(first.standard_error_over_images, rel=0.05)


SAME = """
from inference import Settings, binarise, fit, load_dataset, negative_bounds, set_seed
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal
train, test = (binarise(images, "dynamic") for images in load_dataset("digits"))
set_seed(0)
model = VAE(StandardNormal(2), MLPDecoder(2, train.image_shape, [8]))
guide = MeanFieldGuide(MLPEncoder(train.image_shape, [8]), 2)
rows = fit(model, guide, train, test, Settings(epochs=2, device="cpu", compile=%r))
print(rows[-1]["test_negative_elbo"], negative_bounds(model, guide, test, (5,), 2)[5].value)
"""


def test_the_same_seed_gives_the_same_numbers_in_every_process_compiled_or_not():
    found = []
    for compile in ("off", "off", "on"):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", SAME % compile]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append([float(number) for number in done.stdout.splitlines()[-1].split()])
    assert found[0] == found[1]
    assert found[2] == pytest.approx(found[0], rel=1e-4)
