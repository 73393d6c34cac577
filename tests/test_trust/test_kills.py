"""A run that is killed or interrupted at any moment, and resumed, ends as the run left alone.

PYRO_MODELS_KILLS sets how many kills are tried for each kind of run.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from inference import Run, load

KILLS = int(os.environ.get("PYRO_MODELS_KILLS", "2"))
BASE = ["--dataset", "digits", "--latent_dim", "3", "--encoder.hidden", "[8]", "--decoder.hidden", "[8]"]
BASE += ["--batch_size", "25", "--device", "cpu", "--num_validation", "100"]
KINDS = {
    "eager": [*BASE, "--epochs", "20", "--compile", "off", "--prior", "GaussianMixture"],
    "compiled": [*BASE, "--epochs", "20", "--compile", "on", "--objective", "BetaELBO", "--objective.warm_up", "0.5"],
}


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "scripts" / "train_vae.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> str:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory) -> tuple[list[str], Path, float]:
    """The options of a run, the run left alone, and the seconds that it took."""
    out = tmp_path_factory.mktemp(request.param) / "whole"
    started = time.perf_counter()
    finish(start(*KINDS[request.param], "--out", str(out)))
    return KINDS[request.param], out, time.perf_counter() - started


def resume(options: list[str], out: Path) -> str:
    """As a person would: a run whose folder was never complete is started again."""
    begun = (out / "config.yaml").is_file()
    return finish(start("--out", str(out), "--resume") if begun else start(*options, "--out", str(out)))


def assert_same(whole: Path, out: Path) -> None:
    for name in ("checkpoints/last.safetensors", "checkpoints/best.safetensors", "metrics.csv", "model.yaml"):
        assert (whole / name).read_bytes() == (out / name).read_bytes(), name
    assert len(Run.open(out).seconds()) == 20


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_run_killed_at_any_moment_ends_as_the_run_left_alone(whole, tmp_path, seed):
    options, left_alone, seconds = whole
    process = start(*options, "--out", str(tmp_path / "run"))
    time.sleep(random.Random(seed).uniform(0.4, 1.0) * seconds)
    process.kill()
    process.communicate()
    done = len(Run(tmp_path / "run").metrics())
    resume(options, tmp_path / "run")
    assert_same(left_alone, tmp_path / "run")
    print(f"killed after {done} epochs")


def wait_for(file: Path, process: subprocess.Popen) -> None:
    while not file.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_an_interrupted_run_saves_and_goes_on_from_there(whole, tmp_path):
    options, left_alone, _ = whole
    signum = signal.SIGTERM if "on" in options else signal.SIGINT
    process = start(*options, "--out", str(tmp_path / "run"))
    wait_for(tmp_path / "run" / "checkpoints" / "last.safetensors", process)
    time.sleep(random.Random(int(signum)).uniform(0, 0.2))
    process.send_signal(signum)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 128 + signum
    assert err.startswith("train_vae.py: error: interrupted in epoch ")
    assert err.count("\n") == 1
    epoch = load(tmp_path / "run").epoch
    assert epoch >= len(Run.open(tmp_path / "run").metrics())
    if epoch % 1:
        process = start("--out", str(tmp_path / "run"), "--resume", "--epochs", str(int(epoch)))
        assert "is under way" in process.communicate()[1]
        assert process.returncode == 2
    assert "never finished" not in resume(options, tmp_path / "run")
    assert_same(left_alone, tmp_path / "run")


def test_an_interrupt_while_libraries_are_imported_is_one_line(tmp_path):
    for wait in (0.6, 1.0):
        process = start(*KINDS["eager"], "--out", str(tmp_path / "run"))
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
        assert process.returncode == 130
        assert err.startswith("train_vae.py: error: interrupted")
        assert err.count("\n") == 1
