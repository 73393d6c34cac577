"""A run folder: options, description of the pair, metrics and checkpoints."""

import json
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from inference.runs.checkpoint import CheckpointError, holds_weights_alone, read_progress
from inference.runs.folder import (
    DESCRIBED,
    check_name,
    check_nothing_is_in_the_way,
    is_a_runs,
    locked,
    make_new,
    remove_unfinished_results,
    settle,
    take_place,
)
from inference.runs.hub import place_of
from inference.runs.reading import LARGEST, RunError, check_kinds, read_mapping
from inference.runs.records import checked_diagnosis, checked_evaluation
from inference.runs.tables import as_csv, read_rows
from inference.system.environment import describe_environment
from inference.system.files import write_whole

_COLUMNS = {"epoch", "train_negative_elbo"}


@dataclass(frozen=True)
class Run:
    """The files of one run.

    ``config.yaml`` holds the options (``--config`` repeats the run), ``model.yaml`` describes model
    and guide, ``data.json`` the data, ``metrics.csv`` has one row an epoch, a function of the options
    and the seed alone, ``seconds.csv`` what each took, ``environment.json`` says what ran where.
    """

    path: Path
    new: Path | None = field(default=None, repr=False, compare=False)
    opened: bytes | None = field(default=None, repr=False, compare=False)

    @classmethod
    def create(
        cls,
        path: Path | str,
        config: dict[str, Any],
        pair: dict[str, Any],
        overwrite: bool = False,
        command: str | None = None,
        data: dict[str, Any] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> "Run":
        """A new run that is about to start.

        An existing run stays complete and usable until the new one's first checkpoint is written, and
        is then replaced in one step.  Other files in the folder stay.

        Args:
            path: the folder, which may exist if it is empty.
            config: the options of the run.
            pair: descriptions of "model" and "guide", see :func:`inference.runs.build.build`.
            overwrite: replace an existing run.
            command: what was typed, for the record; this process's own command line if not given.
            data: the record of the data, see :class:`inference.data.opening.Opened`.
            notes: further entries of ``environment.json``.

        Raises:
            RunError: if the folder holds a run and ``overwrite`` is off, if it holds other files, or if
                another process is training there.
        """
        path = Path(path)
        cls(path).check_free(overwrite)
        with locked(path):
            cls(path).check_free(overwrite)  # an interrupted replacement is finished by now
            run = cls(path, new=make_new(path))
            try:
                plain = json.loads(json.dumps(pair))  # copies shared parts, for which YAML would write anchors
                write_whole(run.files / "model.yaml", yaml.safe_dump(plain, sort_keys=False))
                if data is not None:
                    run.write_data(data)
                environment = describe_environment(command) | (notes or {})
                environment |= {"seed": config.get("seed"), "id": uuid4().hex}
                write_whole(run.files / "environment.json", json.dumps(environment, indent=2) + "\n")
                run.write_config(config)
            except BaseException:
                run.discard()
                raise
            run = replace(run, opened=run._identity())
            if not cls(path).has_checkpoint:  # nothing to keep
                run.take_place()
        return run

    @property
    def files(self) -> Path:
        """The folder of the run's files: a subfolder until the run takes the place of another."""
        return self.new if self.new is not None and self.new.is_dir() else self.path

    def take_place(self) -> None:
        """Replace the run in the folder by this one, unless that has been done."""
        if self.files != self.path:
            take_place(self.path, self.files)

    def discard(self) -> None:
        """Delete a run that has not taken its place; the one in the folder stays."""
        if self.files != self.path:
            shutil.rmtree(self.files)

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from training in this folder; see :func:`inference.runs.folder.locked`."""
        return locked(self.path, keep=self.new)

    def settle(self) -> None:
        """Finish the replacement of one run by another that a killed process began.

        Raises:
            RunError: if the folder cannot be written.
        """
        settle(self.path)

    def check_free(self, overwrite: bool = False) -> None:
        """Check that a run may be written here; an old one that never finished an epoch may be lost.

        Raises:
            RunError: as in :meth:`create`.
        """
        check_name(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file: give the folder for the run another name")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        if not is_a_runs(self.path):
            raise RunError(f"{self.path} holds files that are not a run's: choose an empty or new folder")
        check_nothing_is_in_the_way(self.path)
        if not overwrite and self.has_checkpoint:
            raise RunError(
                f"{self.path} already holds a run: choose another folder, continue it with --resume, "
                "or replace it with --overwrite"
            )

    def check_room(self, weights: int) -> None:
        """Check that there is room for checkpoints of this many bytes of weights, beside a run to be replaced.

        Raises:
            RunError: if there is not.
        """
        needed = 10 * weights  # weights and two moments in the last checkpoint, the one before and the next; the best
        if self.checkpoints.is_dir():  # and one is written before another goes
            needed = max(3 * weights, needed - sum(file.stat().st_size for file in self.files.glob("checkpoints/*")))
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise RunError(
                f"{self.path} is on a disk with {free / 1e6:,.1f} MB left, but checkpoints take up to "
                f"{needed / 1e6:,.1f} MB: make room, or choose another folder"
            )

    def check_untrained(self) -> None:
        """Check that a training may start here from its beginning.

        Raises:
            RunError: if there are checkpoints of this run.
        """
        if self.has_checkpoint:
            raise RunError(
                f"{self.path} already holds a trained run: resume=True continues it; "
                "Run.create(..., overwrite=True) replaces it"
            )

    def check_unchanged(self) -> None:
        """Check that the folder still holds this run.

        Raises:
            RunError: if another run has replaced it.
        """
        if self.opened is not None and self.opened != self._identity():
            raise RunError(f"another run has been written to {self.path} meanwhile: open it again")

    def _identity(self) -> bytes:
        file = self.files / "environment.json"
        if not file.is_file():
            return b""
        with file.open("rb") as stream:
            return stream.read(LARGEST)

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Open an existing run: a folder, or ``hf://owner/name`` on the Hugging Face Hub, which is fetched.

        Raises:
            RunError: if the folder is missing or holds no complete run, or the run cannot be fetched.
        """
        run = cls(place_of(path))
        check_name(run.path)
        if not run.path.is_dir():
            raise RunError(f"there is no run folder {path}")
        run.settle()
        check_nothing_is_in_the_way(run.path)
        missing = [name for name in DESCRIBED if not (run.path / name).is_file()]
        if missing:
            raise RunError(f"{run.path} is not a complete run folder: {', '.join(missing)} missing")
        run = replace(run, opened=run._identity())
        run.environment  # noqa: B018  (reading it checks it)
        return run

    def write_config(self, config: dict[str, Any]) -> None:
        """Replace the options, for resuming with other ones."""
        write_whole(self.files / "config.yaml", yaml.safe_dump(config, sort_keys=False))

    def write_data(self, record: dict[str, Any]) -> None:
        """Replace the record of the data, which may lie in another place by now."""
        write_whole(self.files / "data.json", json.dumps(record, indent=2) + "\n")

    @property
    def checkpoints(self) -> Path:
        return self.files / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.checkpoints / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The checkpoint before the last, in case that is damaged."""
        return self.checkpoints / "previous.safetensors"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best.safetensors"

    @property
    def best_is_last(self) -> bool:
        """Whether only the last checkpoint holds the best weights: a save was killed before it copied them."""
        last, best = read_progress(self.last), read_progress(self.best)
        return "epoch" in last and "step" not in last and last["epoch"] == last.get("best_epoch") != best.get("epoch")

    @property
    def has_checkpoint(self) -> bool:
        return any(file.exists() for file in (self.last, self.previous, self.best))

    @property
    def default_weights(self) -> Path:
        """The checkpoint to use a trained pair from: the best if data were held out to choose it by, else the last."""
        return self.best if self.config.get("num_validation") and not self.best_is_last else self.last

    def check_resumable(self) -> None:
        """Check that training can go on from a checkpoint, if there is one.

        Raises:
            CheckpointError: if all hold weights alone, as those of a shared run do.
        """
        there = [file for file in (self.last, self.previous, self.best) if file.is_file()]
        if there and self.metrics() and all(map(holds_weights_alone, there)):
            raise CheckpointError(
                f"{self.path} has no checkpoint with the optimiser's state, as a shared run: it can be used but not "
                f"resumed; train it again with --config {self.path / 'config.yaml'} --out ANOTHER_FOLDER"
            )

    @property
    def config(self) -> dict[str, Any]:
        return read_mapping(self.files / "config.yaml")

    @property
    def pair(self) -> dict[str, Any]:
        """Descriptions of "model" and "guide"."""
        return read_mapping(self.files / "model.yaml")

    @property
    def data(self) -> dict[str, Any] | None:
        """The record of the data; older runs, and runs that were not started by a command, have none."""
        file = self.files / "data.json"
        if not file.is_file():
            return None
        text = (str, type(None))
        return check_kinds(read_mapping(file), file, source=str, path=text, kind=str, shape=list, sha256=text)

    @property
    def environment(self) -> dict[str, Any]:
        file = self.files / "environment.json"
        content = read_mapping(file)
        return check_kinds(content, file, command=str, commit=(str, type(None)), machine=str, versions=dict)

    def metrics(self) -> list[dict[str, float]]:
        """The rows of ``metrics.csv``, in order of epoch; empty if there are none yet."""
        return read_rows(self.files / "metrics.csv", _COLUMNS)

    def evaluation(self) -> dict[str, Any] | None:
        """The record of the last evaluation on all test images, if there is one."""
        file = self.files / "evaluation.json"
        if not file.is_file():
            return None
        return checked_evaluation(read_mapping(file), file)

    def diagnosis(self) -> dict[str, Any] | None:
        """The record of the last diagnosis, if there is one."""
        file = self.files / "diagnosis.json"
        if not file.is_file():
            return None
        return checked_diagnosis(read_mapping(file, largest=10 * LARGEST), file)  # two numbers for each coordinate

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replace ``metrics.csv`` by these rows, and ``seconds.csv`` by their column of seconds."""
        seconds = [{key: row[key] for key in ("epoch", "seconds")} for row in rows]
        metrics = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
        write_whole(self.files / "seconds.csv", as_csv(seconds))
        write_whole(self.files / "metrics.csv", as_csv(metrics))

    def write_result(self, name: str, content: bytes | str) -> None:
        """Write a result about this run into its folder.

        Raises:
            RunError: if the folder holds another run by now.
            OSError: if it cannot be written.
        """
        self.check_unchanged()
        remove_unfinished_results(self.path)
        write_whole(self.path / name, content)

    def seconds(self) -> list[float]:
        """The duration of each epoch."""
        return [row["seconds"] for row in read_rows(self.files / "seconds.csv", {"epoch", "seconds"})]

    @property
    def minutes(self) -> float:
        """Training time so far."""
        return sum(self.seconds()) / 60
