"""A run folder: what was asked, what was built, what was measured, and the weights."""

import csv
import io
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from inference.build import PROJECT, build
from inference.checkpoint import load_checkpoint
from inference.environment import describe_environment
from inference.files import write_whole

_OWN_FILES = ("config.yaml", "model.yaml", "environment.json", "metrics.csv", "seconds.csv", "evaluation.json")
_OWN_FOLDERS = ("checkpoints", "figures", "tensorboard")
_LARGEST_TEXT, _LARGEST_TABLE = 100_000, 100_000_000  # bytes
_COLUMNS = {"epoch", "train_negative_elbo", "test_negative_elbo"}


class RunError(RuntimeError):
    """A run folder that is missing, incomplete or in the way."""


@dataclass(frozen=True)
class Run:
    """The files of one run.

    ``config.yaml`` holds the options (``--config`` repeats the run), ``model.yaml`` describes model
    and guide, ``metrics.csv`` has one row an epoch, a function of the options and the seed alone,
    ``seconds.csv`` what each took, ``environment.json`` says what ran where.
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
        for name in _OWN_FOLDERS:
            if (run.path / name).is_symlink():
                raise RunError(f"{run.path / name} leads elsewhere, by a symbolic link: remove it")
        for name in _OWN_FOLDERS:
            shutil.rmtree(run.path / name, ignore_errors=True)
        for name in _OWN_FILES:
            (run.path / name).unlink(missing_ok=True)
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        plain = json.loads(json.dumps(pair))  # no part of it is shared, which YAML would write as anchors
        write_whole(run.path / "model.yaml", yaml.safe_dump(plain, sort_keys=False))
        environment = describe_environment() | {"seed": config.get("seed")}
        write_whole(run.path / "environment.json", json.dumps(environment, indent=2) + "\n")
        run.write_config(config)  # last: where it is, all is
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
        whole = (self.path / "config.yaml").is_file() and self.checkpoints.is_dir()
        if not whole and not self._just_begun():
            raise RunError(f"{self.path} holds files that are not a run's: choose an empty or new folder")
        if not overwrite and self.has_checkpoint:
            raise RunError(
                f"{self.path} already holds a run: choose another folder, continue it with --resume, "
                "or replace it with --overwrite"
            )

    def _just_begun(self) -> bool:
        """Whether all that is there is what :meth:`create` makes before the configuration, where it was killed."""
        made = {"checkpoints", *_OWN_FILES[:3]}
        there = {file.name for file in self.path.iterdir() if not re.fullmatch(r"\w+\.\w+\..*\.tmp", file.name)}
        return there <= made and self.checkpoints.is_dir() and not any(self.checkpoints.iterdir())

    def check_room(self, weights: int) -> None:
        """Make sure that the checkpoints of so many bytes of weights find room.

        Raises:
            RunError: if not.
        """
        needed = 10 * weights  # weights and two moments in the last checkpoint, the one before and the next; the best
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise RunError(
                f"{self.path} is on a disk with {free / 1e6:,.1f} MB left, but checkpoints take up to "
                f"{needed / 1e6:,.1f} MB: make room, or choose another folder"
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
        linked = [name for name in _OWN_FOLDERS if (run.path / name).is_symlink()]
        if linked:
            raise RunError(
                f"{', '.join(linked)} in {path} leads elsewhere, by a symbolic link: put a folder in its place"
            )
        if lacking:
            raise RunError(f"{run.path / 'environment.json'} is damaged: {', '.join(sorted(lacking))} missing")
        return run

    def write_config(self, config: dict[str, Any]) -> None:
        """Replace the options, for a continuation that changes some."""
        write_whole(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False))

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.checkpoints / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The one before it, for the case that it is damaged."""
        return self.checkpoints / "previous.safetensors"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best.safetensors"

    @property
    def has_checkpoint(self) -> bool:
        return self.last.exists() or self.previous.exists()

    @property
    def config(self) -> dict[str, Any]:
        return read_mapping(self.path / "config.yaml")

    @property
    def pair(self) -> dict[str, Any]:
        """Descriptions of "model" and "guide"."""
        return read_mapping(self.path / "model.yaml")

    @property
    def environment(self) -> dict[str, Any]:
        return read_mapping(self.path / "environment.json")

    def metrics(self) -> list[dict[str, float]]:
        """The rows of ``metrics.csv``, in order of their epoch; empty if there are none yet."""
        return _read_rows(self.path / "metrics.csv", _COLUMNS)

    def evaluation(self) -> dict[str, Any] | None:
        """The record of the last evaluation on all test images, if there is one."""
        file = self.path / "evaluation.json"
        return read_mapping(file) if file.is_file() else None

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replace ``metrics.csv`` by these rows, and ``seconds.csv`` by their seconds."""
        write_whole(self.path / "seconds.csv", _csv([{key: row[key] for key in ("epoch", "seconds")} for row in rows]))
        write_whole(self.path / "metrics.csv", _csv([{k: v for k, v in row.items() if k != "seconds"} for row in rows]))

    def seconds(self) -> list[float]:
        """What each epoch took."""
        return [row["seconds"] for row in _read_rows(self.path / "seconds.csv", {"epoch", "seconds"})]

    @property
    def minutes(self) -> float:
        """Training time so far."""
        return sum(self.seconds()) / 60


@dataclass(frozen=True)
class Pair:
    """A trained model and its guide, in evaluation mode, with the options they were made with.

    ``epoch`` is a fraction where the run was interrupted within an epoch.
    """

    model: nn.Module
    guide: nn.Module
    config: dict[str, Any]
    epoch: float


def load(
    run_dir: Path | str, checkpoint: str | None = None, allow: Sequence[str] = (), device: torch.device | str = "cpu"
) -> Pair:
    """The pair that a run trained.

    Args:
        run_dir: the run's folder.
        checkpoint: "last", "best" or "previous"; by default "best" where images were held out to choose it by.
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
    return Pair(model, guide, config, progress.values["epoch"] + progress.values.get("part", 0))


def _csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read_rows(file: Path, columns: set[str]) -> list[dict[str, float]]:
    if not file.is_file():
        return []
    if file.stat().st_size > _LARGEST_TABLE:
        raise RunError(f"{file} is damaged: no table of a run is larger than {_LARGEST_TABLE:,} bytes")
    try:
        with file.open(newline="") as lines:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]
    except (TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{file} is damaged: every row must hold a number for every column") from error
    if rows and not rows[0].keys() >= columns:
        raise RunError(f"{file} is damaged: {', '.join(sorted(columns - rows[0].keys()))} missing")
    return rows


def read_mapping(file: Path) -> dict[str, Any]:
    """What a small YAML or JSON file maps; without aliases, by which a few lines can stand for gigabytes."""
    try:
        if file.stat().st_size > _LARGEST_TEXT:
            raise RunError(f"{file} is damaged: no such file of a run is larger than {_LARGEST_TEXT:,} bytes")
        text = file.read_text()
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise RunError(f"{file} is damaged: a run's files hold no YAML aliases")
        content = yaml.safe_load(text)  # JSON is YAML
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RunError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} is damaged: expected a mapping")
    return content
