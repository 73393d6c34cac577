"""What a run has measured so far, epoch by epoch, and its checkpoints."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from inference.programs.importance import bits_per_dim
from inference.programs.terms import Terms, mean_terms
from inference.runs.checkpoint import CheckpointError, Progress, load_checkpoint, save_checkpoint
from inference.runs.folder import RunError
from inference.runs.run import Run
from inference.system.processes import rank_and_size


class Begun(NamedTuple):
    """An epoch that was interrupted: its steps and seconds so far, the terms, and the random number generators."""

    step: int
    part: float  # of the epoch's steps
    seconds: float
    terms: list[Terms]
    generators: dict[str, Tensor]

    def as_progress(self) -> Progress:
        tensors = {f"generator.{device}": state for device, state in self.generators.items()}
        for index, terms in enumerate(self.terms):
            tensors |= {f"{name}.{index}": value for name, value in terms._asdict().items()}
        return Progress({"step": self.step, "part": self.part, "seconds": self.seconds}, tensors)

    @classmethod
    def of(cls, progress: Progress) -> "Begun":
        named = progress.tensors
        generators = {key.partition(".")[2]: state for key, state in named.items() if key.startswith("generator.")}
        count = sum(key.startswith("kl.") for key in named)
        terms = [Terms(*(named[f"{name}.{index}"] for name in Terms._fields)) for index in range(count)]
        step, part, seconds = (progress.values[name] for name in ("step", "part", "seconds"))
        return cls(step, part, seconds, terms, generators)


class History:
    """Rows of metrics, one an epoch, and which epoch was the best.

    The best epoch has the lowest negative ELBO on the validation images, or where none are held
    out on the training images; the test images never choose.

    Args:
        run: folder to write to; nothing is written without it.
    """

    def __init__(self, run: Run | None = None) -> None:
        self.run = run
        self.rows: list[dict[str, float]] = []
        self.best = math.inf
        self.best_epoch = 0
        self.begun: Begun | None = None

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.rows)

    @property
    def epochs_since_best(self) -> int:
        return self.epoch - self.best_epoch

    def add(self, row: dict[str, float]) -> None:
        self.rows.append({"epoch": self.epoch + 1.0, **row})
        self.begun = None
        score = row.get("validation_negative_elbo", row["train_negative_elbo"])
        if score < self.best:
            self.best, self.best_epoch = score, self.epoch

    def save(self, model: nn.Module, guide: nn.Module, optimizer: Optimizer) -> None:
        """Write metrics, then the checkpoint to resume from, then the best.

        A kill between any two leaves no checkpoint of an epoch that the metrics lack, and the last
        one tells whether its weights are still to be written as the best.

        Raises:
            OSError: if one cannot be written; those that are there stay whole.
        """
        if self.run is None:
            return
        progress = Progress(self._values, {})
        if self.begun is None:
            self.run.write_metrics(self.rows)
        else:
            begun = self.begun.as_progress()
            progress = Progress(progress.values | begun.values, begun.tensors)
        save_checkpoint(self.run.last, model, guide, optimizer, progress, self.run.previous)
        self._save_best(model, guide)
        self.run.take_place()  # of an older run, which was kept until now

    @property
    def _values(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "best": self.best, "best_epoch": self.best_epoch}

    def _save_best(self, model: nn.Module, guide: nn.Module) -> None:
        if self.run is not None and self.begun is None and self.best_epoch == self.epoch:
            save_checkpoint(self.run.best, model, guide, progress=Progress(self._values, {}))

    def resume(self, model: nn.Module, guide: nn.Module, optimizer: Optimizer) -> None:
        """Go on where the run's last checkpoint stands; rows written after it are dropped.

        If it is damaged, or was never finished, the one before it is taken, and a warning says so.
        A run that has finished no epoch starts anew.

        Raises:
            ValueError: if there is no run folder.
            CheckpointError: if no checkpoint can be used.
            RunError: if rows of the metrics are missing.
        """
        if self.run is None:
            raise ValueError("there is nothing to resume without a run folder")
        if not self.run.has_checkpoint and len(self.run.metrics()) <= 1:
            return
        progress = self._load(self.run, model, guide, optimizer)
        values = progress.values
        self.best, self.best_epoch = values["best"], values["best_epoch"]
        rows = zip(self.run.metrics(), self.run.seconds(), strict=False)
        self.rows = [row | {"seconds": seconds} for row, seconds in rows][: values["epoch"]]
        self.begun = Begun.of(progress) if "step" in values else None
        if self.epoch < values["epoch"]:
            raise RunError(
                f"metrics.csv and seconds.csv in {self.run.path} have {self.epoch} rows but the checkpoint is of epoch "
                f"{values['epoch']}: restore the files, or start a new run"
            )
        if self.run.best_is_last and rank_and_size()[0] == 0:
            self._save_best(model, guide)

    @staticmethod
    def _load(run: Run, model: nn.Module, guide: nn.Module, optimizer: Optimizer) -> Progress:
        try:
            return load_checkpoint(run.last, model, guide, optimizer)
        except CheckpointError as error:
            if not run.previous.is_file():
                raise
            cause = error if run.last.is_file() else "the last checkpoint was never finished"
        progress = load_checkpoint(run.previous, model, guide, optimizer)
        warnings.warn(f"{cause}: continuing from the one before it, of epoch {progress.values['epoch']}", stacklevel=4)
        return progress


def columns(split: str, terms: Sequence[Terms], image_shape: tuple[int, ...]) -> dict[str, float]:
    """Means over all batches and of the last batch alone, in nats per image, and bits per dimension."""
    row = {}
    for prefix, part in ((split, mean_terms(terms)), (f"{split}_last_batch", mean_terms(terms[-1:]))):
        row[f"{prefix}_negative_elbo"] = float(part.negative_elbo)
        row[f"{prefix}_kl"] = float(part.kl)
        row[f"{prefix}_reconstruction"] = float(part.reconstruction)
    row[f"{split}_bits_per_dim"] = float(bits_per_dim(row[f"{split}_negative_elbo"], image_shape))
    return row
