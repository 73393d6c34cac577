"""Metrics also go to trackers: the same numbers, one tracked run even if resumed, and no failure ends training."""

import json
import struct
import warnings
from collections.abc import Iterator

import pytest
import torch
from conftest import described_vae

from inference import Run, Settings, binarise, build, fit, load_dataset
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
        self.place, self.rows = place, []

    def add(self, row, epoch):
        if self.place == "add":
            raise ConnectionError("no network\nand more")
        self.rows.append(row)

    def close(self):
        if self.place == "close":
            raise SystemError("no end")


@pytest.mark.parametrize("place", ["start", "add", "close"])
def test_a_failing_tracker_never_ends_the_training(place, tmp_path, monkeypatch):
    asked = []

    def made(run):
        asked.append(run)
        if place == "start":
            raise PermissionError("no account")
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


def test_a_tracker_that_is_not_installed_is_told_before_the_work(monkeypatch):
    monkeypatch.setattr("inference.training.settings.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"wandb is not installed: install it \(pip install 'pyro-models\[wandb\]'\)"):
        Settings(tracker="wandb")
    with pytest.raises(ValueError, match="tensorboard is not installed"):
        Settings(tensorboard=True)


def test_the_earlier_flag_asks_for_tensorboard():
    assert Settings(tensorboard=True).tracked_by == "tensorboard"
    assert Settings().tracked_by is None


def test_options_are_pairs_of_a_dotted_name_and_a_value():
    options = {"lr": 0.1, "prior": {"class_path": "P", "init_args": {"n": [1, 2]}}, "none": {}}
    assert dict(trackers.flat(options)) == {"lr": 0.1, "prior.class_path": "P", "prior.init_args.n": [1, 2], "none": {}}
