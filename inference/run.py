"""A run folder: what was asked, what was built, what was measured, and the weights."""

import csv
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from inference.build import PROJECT, build
from inference.checkpoint import load_checkpoint

_OWN_FILES = ("config.yaml", "model.yaml", "environment.json", "metrics.csv", "evaluation.json")
_OWN_FOLDERS = ("checkpoints", "figures", "tensorboard")
_COLUMNS = {"epoch", "seconds", "train_negative_elbo", "test_negative_elbo"}
_PACKAGES = ("torch", "torchvision", "pyro-ppl", "accelerate", "numpy", "scikit-learn")


class RunError(RuntimeError):
    """A run folder that is missing, incomplete or in the way."""


@dataclass(frozen=True)
class Run:
    """The files of one run.

    ``config.yaml`` holds the options (``--config`` repeats the run), ``model.yaml`` describes model
    and guide, ``metrics.csv`` has one row an epoch, ``environment.json`` says what ran where.
    """

    path: Path

    @classmethod
    def create(cls, path: Path | str, config: dict[str, Any], pair: dict[str, Any], overwrite: bool = False) -> "Run":
        """A new folder for a run that is about to start.

        Args:
            path: the folder; it may exist if it is empty.
            config: the options of the run.
            pair: descriptions of "model" and "guide", see :func:`inference.build.build`.
            overwrite: remove a run that is there already.

        Raises:
            RunError: if the folder holds a run and is not to be overwritten, or holds other files.
        """
        run = cls(Path(path))
        run.check_free(overwrite)
        for name in _OWN_FILES:
            (run.path / name).unlink(missing_ok=True)
        for name in _OWN_FOLDERS:
            shutil.rmtree(run.path / name, ignore_errors=True)
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        run.write_config(config)
        plain = json.loads(json.dumps(pair))  # no part of it is shared, which YAML would write as anchors
        (run.path / "model.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
        environment = describe_environment() | {"seed": config.get("seed")}
        (run.path / "environment.json").write_text(json.dumps(environment, indent=2) + "\n")
        return run

    def check_free(self, overwrite: bool = False) -> None:
        """Make sure that a run may be written here; one that never finished an epoch is no loss.

        Raises:
            RunError: as in :meth:`create`.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file: give the folder for the run another name")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        if not (self.path / "config.yaml").is_file() or not self.checkpoints.is_dir():
            raise RunError(f"{self.path} holds files that are not a run's: choose an empty or new folder")
        if not overwrite and (self.checkpoints / "last.safetensors").exists():
            raise RunError(
                f"{self.path} already holds a run: choose another folder, continue it with --resume, "
                "or replace it with --overwrite"
            )

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """A run that exists.

        Raises:
            RunError: if the folder is missing or not a run's.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise RunError(f"there is no run folder {path}")
        missing = [name for name in _OWN_FILES[:3] if not (run.path / name).is_file()]
        if missing:
            raise RunError(f"{path} is not a complete run folder: {', '.join(missing)} missing")
        lacking = {"command", "commit", "machine", "versions"} - run.environment.keys()
        if lacking:
            raise RunError(f"{run.path / 'environment.json'} is damaged: {', '.join(sorted(lacking))} missing")
        return run

    def write_config(self, config: dict[str, Any]) -> None:
        """Replace the options, for a continuation that changes some."""
        (self.path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def config(self) -> dict[str, Any]:
        return _read_mapping(self.path / "config.yaml")

    @property
    def pair(self) -> dict[str, Any]:
        """Descriptions of "model" and "guide"."""
        return _read_mapping(self.path / "model.yaml")

    @property
    def environment(self) -> dict[str, Any]:
        return _read_mapping(self.path / "environment.json")

    def metrics(self) -> list[dict[str, float]]:
        """The rows of ``metrics.csv``, in order of their epoch; empty if there are none yet."""
        file = self.path / "metrics.csv"
        if not file.is_file():
            return []
        try:
            with file.open(newline="") as lines:
                rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]
        except (TypeError, ValueError) as error:
            raise RunError(f"{file} is damaged: every row must hold a number for every column") from error
        if rows and not rows[0].keys() >= _COLUMNS:
            raise RunError(f"{file} is damaged: {', '.join(sorted(_COLUMNS - rows[0].keys()))} missing")
        return rows

    def evaluation(self) -> dict[str, Any] | None:
        """The record of the last evaluation on all test images, if there is one."""
        file = self.path / "evaluation.json"
        return _read_mapping(file) if file.is_file() else None

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replace ``metrics.csv`` by these rows."""
        temporary = self.path / "metrics.csv.tmp"
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self.path / "metrics.csv")

    @property
    def minutes(self) -> float:
        """Training time so far."""
        return sum(row["seconds"] for row in self.metrics()) / 60


@dataclass(frozen=True)
class Pair:
    """A trained model and its guide, in evaluation mode, with the options they were made with."""

    model: nn.Module
    guide: nn.Module
    config: dict[str, Any]
    epoch: int


def load(
    run_dir: Path | str, checkpoint: str | None = None, allow: Sequence[str] = (), device: torch.device | str = "cpu"
) -> Pair:
    """The pair that a run trained.

    Args:
        run_dir: the run's folder.
        checkpoint: "last" or "best"; by default "best" where images were held out to choose it by.
        allow: packages outside this project whose classes the run may name.
        device: where to put the pair.

    Raises:
        RunError, CheckpointError: if the folder or the checkpoint is missing or damaged.
        ValueError: if the run names classes that may not be imported.
    """
    run = Run.open(run_dir)
    config = run.config
    checkpoint = checkpoint or ("best" if config.get("num_validation") else "last")
    pair = build(run.pair, allow=(*PROJECT, *([allow] if isinstance(allow, str) else allow)))
    if not all(isinstance(pair.get(half), nn.Module) for half in ("model", "guide")):
        raise RunError(f"{run.path / 'model.yaml'} is damaged: expected descriptions of a model and a guide")
    progress = load_checkpoint(run.checkpoints / f"{checkpoint}.safetensors", pair["model"], pair["guide"])
    model, guide = (pair[half].eval().to(device) for half in ("model", "guide"))
    return Pair(model, guide, config, progress["epoch"])


def _read_mapping(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())  # JSON is YAML
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} is damaged: expected a mapping")
    return content


def describe_environment() -> dict[str, Any]:
    """Command, time, commit, machine and versions, for the record."""
    return {
        "command": " ".join(["python", *sys.argv]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} CPU thread(s), {_accelerator()}",
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None
