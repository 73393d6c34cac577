"""Metrics also go to trackers: the same numbers, one tracked run even if resumed, and no failure ends training."""

import io
import json
import os
import random
import struct
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from conftest import described_vae

from inference import Run, Settings, binarise, build, fit, load, load_dataset
from inference.runs import trackers

PAIR = described_vae((1, 8, 8), [8])
TRAIN, TEST = (binarise(data, "dynamic").take(slice(100)) for data in load_dataset("digits"))
QUICK = {"batch_size": 50, "device": "cpu", "compile": "off"}


def train(folder, epochs: int, tracker: str, resume: bool = False) -> list[dict[str, float]]:
    config = {"seed": 0, "tracker": tracker, "prior": {"class_path": "pyro_models.GaussianMixture", "init_args": {}}}
    run = Run.open(folder) if resume else Run.create(folder, config, PAIR)
    torch.manual_seed(0)
    pair = build(PAIR)
    settings = Settings(epochs=epochs, tracker=tracker, **QUICK)
    return fit(pair["model"], pair["guide"], TRAIN, TEST, settings, run=run, resume=resume, show=None)


def in_tensorboard(folder, monkeypatch) -> dict[int, float]:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = events.EventAccumulator(str(folder / "tensorboard")).Reload()
    return {event.step: event.value for event in log.Scalars("test_negative_elbo")}


def in_mlflow(folder, monkeypatch) -> dict[int, float]:
    from mlflow import MlflowClient

    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("pyro-models").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == folder.name
    assert run.data.params["prior.class_path"] == "pyro_models.GaussianMixture"
    return {point.step: point.value for point in client.get_metric_history(run.info.run_id, "test_negative_elbo")}


def in_wandb(folder, monkeypatch) -> dict[int, float]:
    from wandb.proto import wandb_internal_pb2

    found, ids = {}, set()
    for file in folder.glob("wandb/offline-run-*/*.wandb"):
        for data in logged_in(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                ids.add(record.run.run_id)
                options = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                assert options["prior.class_path"] == "pyro_models.GaussianMixture"
            if record.HasField("history"):
                items = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
                found[record.history.step.num] = items["test_negative_elbo"]
    assert len(ids) == 1
    return found


def logged_in(content: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB writes it, in blocks of 32 kB: checksum, length and kind, then the content."""
    place, record = 7, b""
    while place + 7 <= len(content):
        if 2**15 - place % 2**15 < 7:  # the rest of a block is empty
            place += 2**15 - place % 2**15
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


READ = {"tensorboard": in_tensorboard, "mlflow": in_mlflow, "wandb": in_wandb}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlflow'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_a_tracker_has_every_epoch_in_one_run_that_a_resumed_one_goes_on_with(name, tmp_path, monkeypatch, offline):
    pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[{name}]'")
    train(tmp_path / "run", 2, name)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*failed")
        rows = train(tmp_path / "run", 3, name, resume=True)
    logged = READ[name](tmp_path / "run", monkeypatch)
    assert logged == pytest.approx({int(row["epoch"]): row["test_negative_elbo"] for row in rows})
    assert set(logged) == {1, 2, 3}


class Failing:
    """A tracker that fails where it is asked to."""

    def __init__(self, place: str) -> None:
        self.place, self.rows, self.ends = place, [], []

    def add(self, row, epoch):
        if self.place == "add":
            raise ConnectionError("no network\nand more")
        self.rows.append(row)

    def close(self, finished):
        self.ends.append(finished)
        if self.place == "close":
            raise SystemError("no end")


class Interrupting(Failing):
    """A tracker in whose time the user presses Ctrl-C."""

    def add(self, row, epoch):
        raise KeyboardInterrupt


def test_a_tracker_is_told_whether_the_training_finished(tmp_path, monkeypatch):
    whole, stopped = Failing(""), Interrupting("")
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", lambda run: whole)
    train(tmp_path / "run", 1, "tensorboard")
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", lambda run: stopped)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", 2, "tensorboard", resume=True)
    assert (whole.ends, stopped.ends) == ([True], [False])


def test_mlflow_shows_an_interrupted_run_as_killed_until_it_finishes(tmp_path, monkeypatch, offline):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install '.[mlflow]'")

    def status():
        client = mlflow.MlflowClient()
        (run,) = client.search_runs([client.get_experiment_by_name("pyro-models").experiment_id])
        return run.info.status

    plain = trackers.MLflow.add
    monkeypatch.setattr(trackers.MLflow, "add", Interrupting.add)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", 1, "mlflow")
    assert status() == "KILLED"
    monkeypatch.setattr(trackers.MLflow, "add", plain)
    train(tmp_path / "run", 2, "mlflow", resume=True)
    assert status() == "FINISHED"


@pytest.mark.parametrize("place", ["start", "exit", "add", "close"])
def test_a_failing_tracker_never_ends_the_training(place, tmp_path, monkeypatch):
    asked = []

    def made(run):
        asked.append(run)
        if place == "start":
            raise PermissionError("no account")
        if place == "exit":
            sys.exit("no account")
        return Failing(place)

    plain = train(tmp_path / "plain", 3, "none")
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", made)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = train(tmp_path / "run", 3, "tensorboard")
    told = [str(warning.message) for warning in caught if "tensorboard failed" in str(warning.message)]
    assert len(told) == 1
    assert told[0].endswith(": training goes on without it")
    assert "\n" not in told[0]
    assert len(asked) == 1
    assert [row["test_negative_elbo"] for row in rows] == [row["test_negative_elbo"] for row in plain]
    assert len(Run.open(tmp_path / "run").metrics()) == 3


class Drawing:
    """A tracker that draws from every generator of random numbers, and seeds them anew."""

    def add(self, row, epoch):
        random.seed(epoch), np.random.seed(epoch), torch.manual_seed(epoch)
        random.random(), np.random.rand(), torch.rand(3)

    def close(self, finished):
        torch.manual_seed(1)


def test_a_tracker_changes_no_number_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", lambda run: Drawing())
    train(tmp_path / "plain", 3, "none")
    train(tmp_path / "tracked", 3, "tensorboard")
    plain, tracked = (Run.open(tmp_path / name) for name in ("plain", "tracked"))
    assert (tracked.path / "metrics.csv").read_bytes() == (plain.path / "metrics.csv").read_bytes()
    for half in ("model", "guide"):
        ours, theirs = (getattr(load(run.path), half).state_dict() for run in (plain, tracked))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_may_go_on_with_another_tracker(tmp_path, monkeypatch):
    first, second = Failing(""), Failing("")
    monkeypatch.setattr("inference.training.settings.find_spec", lambda name: True)
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", lambda run: first)
    monkeypatch.setitem(trackers.TRACKERS, "wandb", lambda run: second)
    rows = train(tmp_path / "run", 2, "tensorboard")
    rows = train(tmp_path / "run", 3, "wandb", resume=True)
    logged = [row["test_negative_elbo"] for row in (*first.rows, *second.rows)]
    assert logged == [row["test_negative_elbo"] for row in rows]
    assert len(second.rows) == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_tracker_that_would_ask_for_a_login_fails_instead_and_waits_little(tmp_path, monkeypatch):
    for name in trackers._PATIENCE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "7")  # the user's own choice stays
    terminal = Terminal("a secret")
    monkeypatch.setattr(sys, "stdin", terminal)
    found = []

    def asking(run):
        found.append((sys.stdin.isatty(), os.environ["WANDB_INIT_TIMEOUT"], os.environ["WANDB_FINISH_TIMEOUT"]))
        raise RuntimeError(f"no login: {input()}")

    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", asking)
    with pytest.warns(UserWarning, match=r"tensorboard failed \(EOFError: .*\): training goes on without it"):
        train(tmp_path / "run", 1, "tensorboard")
    assert found == [(False, "7", "60")]
    assert sys.stdin is terminal
    assert terminal.read() == "a secret"


def test_a_tracker_that_is_not_installed_is_told_before_the_work(monkeypatch):
    monkeypatch.setattr("inference.training.settings.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"wandb is not installed: install it \(pip install wandb\)"):
        Settings(tracker="wandb")
    with pytest.raises(ValueError, match="tensorboard is not installed"):
        Settings(tensorboard=True)


def test_the_earlier_flag_asks_for_tensorboard():
    assert Settings(tensorboard=True).tracked_by == "tensorboard"
    with pytest.raises(ValueError, match="tensorboard does not go with tracker wandb"):
        Settings(tensorboard=True, tracker="wandb")
    assert Settings().tracked_by is None


def test_options_are_pairs_of_a_dotted_name_and_a_value():
    options = {"lr": 0.1, "prior": {"class_path": "P", "init_args": {"n": [1, 2]}}, "none": {}}
    assert dict(trackers.flat(options)) == {"lr": 0.1, "prior.class_path": "P", "prior.init_args.n": [1, 2], "none": {}}
