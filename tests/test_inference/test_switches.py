"""Switches of the process, and random number generators, stay as they were found."""

import os
import random
import subprocess
import sys
import warnings
from contextlib import nullcontext
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from conftest import ROOT, described_vae
from pyro.infer import Trace_ELBO
from pyro.infer.util import is_validation_enabled
from torch import nn
from torch.distributions import Distribution
from vector_pairs import Normals, NormalsGuide

import inference
from inference import STL, Images, Run, Settings, Vectors, Weigher, build
from inference.training import steps as stepping
from inference.training.measure import measure
from pyro_models import AutoregressivePixels, BernoulliPixels, MLPDecoder, ZukoPrior

SHAPE = (1, 4, 4)
PAIR = described_vae(SHAPE, [8], prior="ZukoPrior")
IMAGES = Images("random", torch.randint(0, 2, (30, *SHAPE)).byte(), torch.zeros(30), 2, "threshold")
VECTORS = Vectors("random", torch.randn(30, 3))
SETTINGS = {"epochs": 1, "batch_size": 10, "device": "cpu", "tf32": True}

STATE = """
import sys, warnings, pyro, torch
from pyro.infer.util import is_validation_enabled
from torch.distributions import Distribution
if 'OFF' in sys.argv: Distribution.set_default_validate_args(False)
state = lambda: (Distribution._validate_args, is_validation_enabled(), torch.get_float32_matmul_precision(),
                 torch.get_default_dtype(), torch.is_grad_enabled(), list(warnings.filters),
                 torch.get_rng_state().tolist())
before = state()
"""
PARTS = "import pyro_models as m; m.ZukoPrior(2); m.AutoregressivePixels((1, 2, 2))"


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("import inference, pyro_models; assert 'zuko' not in sys.modules", []),
        (f"{PARTS}; before = (*before[:-1], torch.get_rng_state().tolist())", []),
        (f"{PARTS}; before = (*before[:-1], torch.get_rng_state().tolist())", ["OFF"]),
    ],
)
def test_an_import_changes_no_switch(code, arguments):
    check = "assert state() == before, (before[:-1], state()[:-1])"
    done = subprocess.run(
        [sys.executable, "-c", f"{STATE}\n{code}\n{check}", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def switches():
    flags = pyro.distributions.is_validation_enabled(), is_validation_enabled(), Distribution._validate_args
    precision = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32
    return *flags, *precision, torch.get_default_dtype(), torch.is_grad_enabled(), list(warnings.filters)


def programs(tmp_path):
    torch.manual_seed(0)
    return build(PAIR).values()


def load(tmp_path):
    run = Run.create(tmp_path, {"seed": 0}, PAIR)
    inference.fit(*programs(tmp_path), IMAGES, IMAGES, Settings(**SETTINGS), run=run)
    return lambda: inference.load(tmp_path)


FUNCTIONS = {
    "fit": lambda p: lambda: inference.fit(*programs(p), IMAGES, IMAGES, Settings(**SETTINGS)),
    "measure": lambda p: lambda: measure(*programs(p), IMAGES, 10),
    "log_weights": lambda p: lambda: inference.log_weights(*programs(p), IMAGES.observe(), 5),
    "Weigher": lambda p: lambda: Weigher(*programs(p), pairs=10**9, backend="eager")(5, IMAGES.observe()),
    "negative_bounds": lambda p: lambda: inference.negative_bounds(*programs(p), IMAGES, [1, 5], 2),
    "diagnose": lambda p: lambda: inference.diagnose(*programs(p), IMAGES, 30, 5, 20),
    "check_pair": lambda p: lambda: inference.check_pair(*programs(p), IMAGES, Trace_ELBO()),
    "collapse_threshold": lambda p: lambda: inference.collapse_threshold(BernoulliPixels(), IMAGES.observe()),
    "load": load,
    "parts that need zuko": lambda p: lambda: (ZukoPrior(2), AutoregressivePixels(SHAPE), MLPDecoder(2, SHAPE, [8])),
}


@pytest.mark.parametrize("of_torch", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_leaves_switches_as_it_found_them(name, of_torch, tmp_path):
    """Torch's switch of validation differs from Pyro's here, as it may."""
    function = FUNCTIONS[name](tmp_path)
    pyro.enable_validation(not of_torch)
    Distribution.set_default_validate_args(of_torch)
    before = switches()
    function()
    assert switches() == before


def generators():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


SEEDED = {
    "fit": lambda *pair: inference.fit(*pair, IMAGES, IMAGES, Settings(**SETTINGS)),
    "negative_bounds": lambda *pair: inference.negative_bounds(*pair, IMAGES, repeats=1),
    "diagnose": lambda *pair: inference.diagnose(*pair, IMAGES, 30, 5, 20),
    "check_pair": lambda *pair: inference.check_pair(*pair, IMAGES, Trace_ELBO()),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_function_with_a_seed_of_its_own_leaves_the_generators_as_it_found_them(name):
    pair, before = programs(None), generators()
    SEEDED[name](*pair)
    assert generators() == before


class Moody(nn.Module):
    """Draws from every generator there is."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, x, labels=None, **options):
        noise = np.random.normal() + random.gauss(0, 1) + random.random() + float(torch.rand(()))
        return self.program(x * (1 + 1e-9 * noise), labels, **options)


def test_trying_a_pair_draws_nothing():
    model, guide = build(described_vae(SHAPE, [8])).values()
    before = generators()
    inference.check_pair(model, Moody(guide), IMAGES, Trace_ELBO())
    assert generators() == before


class Failing(nn.Module):
    def forward(self, x, labels=None, **options):
        raise RuntimeError("it cannot be run")


@pytest.mark.parametrize("of_torch", [True, False])
def test_switches_are_put_back_when_a_program_fails(of_torch):
    guide, failing = build(PAIR)["guide"], Failing()
    pyro.enable_validation(not of_torch)
    Distribution.set_default_validate_args(of_torch)
    before = switches(), generators()
    with pytest.raises(ValueError, match="it cannot be run"):
        inference.check_pair(failing, guide, IMAGES, Trace_ELBO())
    with pytest.raises(ValueError, match="it cannot be run"):
        inference.fit(failing, guide, IMAGES, IMAGES, Settings(**SETTINGS))
    assert (switches(), generators()) == before
    with pytest.raises(ValueError, match="it cannot be run"):
        inference.log_weights(failing, guide, IMAGES.observe(), 3)
    assert switches() == before[0]


def test_gradients_of_a_held_guide_and_its_flags_come_back():
    model, guide = (half.eval() for half in build(PAIR).values())
    flags = [parameter.requires_grad_(index > 0).requires_grad for index, parameter in enumerate(guide.parameters())]
    before = switches()
    guide.random_density = True
    with pytest.raises(ValueError, match="another guide"):
        STL().loss(model, guide, IMAGES.observe())
    del guide.random_density
    STL().loss(model, guide, IMAGES.observe())
    assert [parameter.requires_grad for parameter in guide.parameters()] == flags
    assert switches() == before


MODES = {
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "a default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("compiles", ["on", "off"])
def test_training_is_the_same_in_whatever_mode_the_caller_is(monkeypatch, mode, compiles):
    monkeypatch.setattr(stepping, "CompiledUpdate", partial(stepping.CompiledUpdate, backend="eager"))
    weights = []
    for within in (nullcontext, mode):
        torch.manual_seed(0)
        model, guide = Normals(1), NormalsGuide(1)
        before = torch.get_rng_state()
        with within():
            settings = Settings(epochs=3, batch_size=8, lr=0.1, num_validation=4, device="cpu", compile=compiles)
            inference.fit(model, guide, VECTORS, VECTORS, settings, show=None)
        assert torch.equal(torch.get_rng_state(), before)
        weights.append([parameter.detach() for part in (model, guide) for parameter in part.parameters()])
    assert all(map(torch.equal, *weights))


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_bounds_need_no_mode_of_the_caller(mode):
    model, guide = Normals(1), NormalsGuide(1)
    torch.manual_seed(0)
    expected = inference.negative_bounds(model, guide, VECTORS, (1, 5), 2)
    torch.manual_seed(0)
    with mode():
        found = inference.negative_bounds(model, guide, VECTORS, (1, 5), 2)
    assert found[5].value == pytest.approx(expected[5].value, rel=5e-2)  # autocast rounds to eight bits
