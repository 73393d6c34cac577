"""Runs in pretrained/ give their recorded numbers anywhere, and a shared run is what it takes to use it."""

import json
import re
import shutil
import sys

import pyro
import pytest
import torch
from conftest import ROOT, described_vae

from inference import CheckpointError, Run, Settings, binarise, build, fit, load, load_dataset
from inference.runs.checkpoint import holds_weights_alone
from inference.runs.folder import SHARED
from inference.runs.sharing import share
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.train_vae import TrainVAEOptions, train_vae

sys.path.insert(0, str(ROOT / "tools"))

RUNS = sorted(file.parent for file in ROOT.glob("pretrained/*/config.yaml"))
LARGEST = 12_000_000  # bytes of them all, in a repository that everyone clones


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_pretrained_run_gives_its_recorded_numbers_in_any_folder(run, tmp_path, monkeypatch, request):
    import pretrained

    if Run.open(run).config["dataset"] == "mnist":
        monkeypatch.setenv("PYRO_MODELS_DATA", str(request.getfixturevalue("mnist_root")))
    moved = shutil.copytree(run, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    before = {file: file.read_bytes() for file in moved.rglob("*") if file.is_file()}
    assert pretrained.measured(moved) == pytest.approx(json.loads((run / "check.json").read_text()), rel=1e-4, abs=1e-3)
    assert {file: file.read_bytes() for file in moved.rglob("*") if file.is_file()} == before


def test_pretrained_runs_are_small_and_hold_what_a_shared_run_does(tmp_path):
    assert RUNS
    files = [file for file in (ROOT / "pretrained").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= LARGEST
    for run in RUNS:
        assert Run.open(run).evaluation(), f"{run.name} was not evaluated"
        again = share(Run.open(run), tmp_path / run.name)
        for name in SHARED:
            there = (run / name).is_file()
            assert there == (again.path / name).is_file()
            if there and name != "config.yaml" and name != "evaluation.json":
                assert (again.path / name).read_bytes() == (run / name).read_bytes(), f"{run.name}: {name}"
        assert holds_weights_alone(again.default_weights)


def test_the_table_of_pretrained_runs_has_each_with_its_tightest_bound():
    from result_tables.weights import pretrained_table

    table = pretrained_table(ROOT / "pretrained")
    for run in RUNS:
        record = Run.open(run).evaluation()
        unit = "bits/dim" if "bits_per_dim" in record else "nats"
        bounds = record["bits_per_dim"] if unit == "bits/dim" else record["negative_iwae"]
        samples, bound = min(bounds.items(), key=lambda item: item[1]["value"])
        (line,) = [line for line in table.splitlines() if line.startswith(f"| `{run.name}` | ")]
        told = re.search(rf"\| (\S+) ± \S+ {unit}, m = {samples} \| (\S+) \|$", line)
        assert float(told[1]) == pytest.approx(bound["value"], abs=6e-3)
        assert float(told[2]) == pytest.approx(Run.open(run).default_weights.stat().st_size / 1e6, abs=0.06)


def test_a_run_that_cannot_be_measured_is_not_added(tmp_path, monkeypatch):
    import pretrained

    monkeypatch.setattr(pretrained, "measured", lambda run: {}[run])
    with pytest.raises(KeyError):
        pretrained.add(RUNS[0], "new", tmp_path)
    for name in ("../new", "/new", "a/b", ".."):
        with pytest.raises(ValueError, match="is no name of a folder in"):
            pretrained.add(RUNS[0], name, tmp_path / "folder")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """A tiny run on a file of digits, and the options that made it."""
    monkeypatch.chdir(tmp_path)
    import numpy as np
    from sklearn.datasets import load_digits

    np.save("faces.npy", load_digits().images[:200].astype("uint8"))
    options = TrainVAEOptions(
        dataset=str(tmp_path / "faces.npy"),
        data_root=str(tmp_path),
        levels=17,
        out="runs/faces",
        epochs=2,
        latent_dim=2,
        encoder={"class_path": "MLPEncoder", "init_args": {"hidden": [8]}},
        decoder={"class_path": "MLPDecoder", "init_args": {"hidden": [8]}},
        compile="off",
        num_validation=40,
    )
    return train_vae(options)


def test_a_shared_run_has_the_weights_that_load_takes_and_no_place_of_this_machine(digits, tmp_path):
    shared = share(Run.open(digits.path), tmp_path / "shared")
    files = {str(file.relative_to(shared.path)) for file in shared.path.rglob("*") if file.is_file()}
    assert files == {*SHARED} - {"checkpoints/last.safetensors", "evaluation.json"}
    ours, theirs = load(digits.path), load(shared.path)
    assert theirs.epoch == ours.epoch
    for half in ("model", "guide"):
        mine, other = getattr(ours, half).state_dict(), getattr(theirs, half).state_dict()
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    for name in ("config.yaml", "data.json", "model.yaml", "metrics.csv"):
        assert str(tmp_path) not in (shared.path / name).read_text()
    assert shared.data["path"] == shared.config["dataset"] == "faces.npy"


def test_a_shared_run_says_that_it_cannot_be_resumed_and_is_not_replaced_unasked(digits, tmp_path):
    shared = share(Run.open(digits.path), tmp_path / "shared")
    before = {file: file.read_bytes() for file in shared.path.rglob("*") if file.is_file()}
    with pytest.raises(
        CheckpointError, match="has no checkpoint with the optimiser's state, as a shared run: .* train it again with"
    ):
        train_vae(TrainVAEOptions(**{**digits.config, "out": str(shared.path)}, resume=True))
    with pytest.raises(RuntimeError, match="already holds a run"):
        train_vae(TrainVAEOptions(**{**digits.config, "out": str(shared.path)}))
    assert {file: file.read_bytes() for file in before} == before


def test_a_last_checkpoint_is_shared_without_its_optimiser(tmp_path):
    pair = build(described_vae((1, 8, 8), [8]))
    run = Run.create(tmp_path / "run", {"seed": 0}, described_vae((1, 8, 8), [8]))
    train = binarise(load_dataset("digits")[0], "dynamic").take(slice(200))
    settings = Settings(epochs=1, device="cpu", compile="off")
    fit(pair["model"], pair["guide"], train, None, settings, run=run, show=None)
    shared = share(Run.open(run.path), tmp_path / "shared")
    assert shared.last.stat().st_size < run.last.stat().st_size / 2
    assert not shared.previous.exists()
    with pytest.raises(CheckpointError, match="cannot be resumed|not resumed"):
        fit(pair["model"], pair["guide"], train, None, settings, run=shared, resume=True, show=None)


def test_an_evaluation_leaves_pyros_store_as_it_was(tmp_path):
    """Parameters left there would be trained by the next SVI, in place of those of its own guide."""
    run = shutil.copytree(ROOT / "pretrained" / "vae_digits", tmp_path / "run")
    pyro.clear_param_store()
    pyro.param("mine", torch.ones(2))
    evaluate(run, EvaluateOptions(m=[2], repeats=1, num_images=5))
    assert set(pyro.get_param_store()) == {"mine"}
    before = (run / "evaluation.json").read_bytes()
    with pytest.raises(ValueError, match="num_samples must be at least 1; got 0"):
        evaluate(run, EvaluateOptions(num_samples=0))
    assert (run / "evaluation.json").read_bytes() == before
