"""What a run has measured so far, epoch by epoch, and its checkpoints."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from inference.data.protocol import DataSet
from inference.programs.importance import bits_per_dim
from inference.programs.terms import Terms, mean_terms
from inference.runs.checkpoint import CheckpointError, Progress, load_checkpoint, save_checkpoint
from inference.runs.folder import RunError
from inference.runs.run import Run
from inference.system.processes import rank_and_size
from inference.system.products import Products

_DIVERGED = 0.5  # of the best negative ELBO, by which the last may be above it


class PartialEpoch(NamedTuple):
    """An interrupted epoch: its steps and seconds so far, their terms, and the states of the random generators."""

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
    def from_progress(cls, progress: Progress) -> "PartialEpoch":
        named = progress.tensors
        generators = {key.partition(".")[2]: state for key, state in named.items() if key.startswith("generator.")}
        count = sum(key.startswith("kl.") for key in named)
        terms = [Terms(*(named[f"{name}.{index}"] for name in Terms._fields)) for index in range(count)]
        step, part, seconds = (progress.values[name] for name in ("step", "part", "seconds"))
        return cls(step, part, seconds, terms, generators)


class History:
    """Rows of metrics, one an epoch, and which epoch was the best.

    The best epoch has the lowest negative ELBO on the validation data or, if none are held out, on
    the training data.  The test data have no say.

    Args:
        run: folder to write to; without it nothing is written.
        products: what multiplies matrices; that of a run that is resumed is what it began with.
    """

    def __init__(self, run: Run | None = None, products: Products = "default") -> None:
        self.run = run
        self.products: Products = products
        self.rows: list[dict[str, float]] = []
        self.best = math.inf
        self.best_epoch = 0
        self.partial: PartialEpoch | None = None

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.rows)

    @property
    def epochs_since_best(self) -> int:
        return self.epoch - self.best_epoch

    def add(self, row: dict[str, float]) -> None:
        self.rows.append({"epoch": self.epoch + 1.0, **row})
        self.partial = None
        score = row.get("validation_negative_elbo", row["train_negative_elbo"])
        if score < self.best:
            self.best, self.best_epoch = score, self.epoch

    def warn_if_diverged(self) -> None:
        """Warn if the run ends far above its best epoch: one step of a huge gradient can undo all before it."""
        if not self.rows:
            return
        split = "validation" if "validation_negative_elbo" in self.rows[-1] else "train"
        last = self.rows[-1][f"{split}_negative_elbo"]
        if last - self.best > max(_DIVERGED * abs(self.best), 1.0):
            where = f"; {self.run.best} has the weights of epoch {self.best_epoch}" if self.run is not None else ""
            warnings.warn(
                f"the training diverged: the negative ELBO on the {split}{'ing' * (split == 'train')} data was "
                f"{self.best:.2f} nats in epoch {self.best_epoch} and is {last:.2f} in the last one; clip_norm 10 or a "
                f"lower lr may help{where}",
                stacklevel=3,
            )

    def save(self, model: nn.Module, guide: nn.Module, optimizer: Optimizer) -> None:
        """Write the metrics, then the checkpoint to resume from, then the best.

        A kill between two of these never leaves a checkpoint of an epoch that the metrics lack, and
        the last checkpoint tells whether its weights must still be written as the best.

        Raises:
            OSError: if a file cannot be written; existing files stay intact.
        """
        if self.run is None:
            return
        progress = Progress(self._values, {})
        if self.partial is None:
            self.run.write_metrics(self.rows)
        else:
            partial = self.partial.as_progress()
            progress = Progress(progress.values | partial.values, partial.tensors)
        save_checkpoint(self.run.last, model, guide, optimizer, progress, self.run.previous)
        self._save_best(model, guide)
        self.run.take_place()  # of an older run, which was kept until now

    @property
    def _values(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "best": self.best, "best_epoch": self.best_epoch, "products": self.products}

    def _save_best(self, model: nn.Module, guide: nn.Module) -> None:
        if self.run is not None and self.partial is None and self.best_epoch == self.epoch:
            save_checkpoint(self.run.best, model, guide, progress=Progress(self._values, {}))

    def resume(self, model: nn.Module, guide: nn.Module, optimizer: Optimizer) -> None:
        """Continue from the run's last checkpoint; rows written after it are dropped.

        If it is damaged or incomplete, a warning says so and the previous one is used.  A run without
        a finished epoch starts again.

        Raises:
            ValueError: if there is no run folder.
            CheckpointError: if no checkpoint can be used.
            RunError: if rows of the metrics are missing.
        """
        if self.run is None:
            raise ValueError("there is nothing to resume without a run folder")
        self.run.check_resumable()
        begun = self.run.last.exists() or self.run.previous.exists()
        if not begun and len(self.run.metrics()) <= 1:
            self.products = self.run.environment.get("products", self.products)
            return
        progress = self._load(self.run, model, guide, optimizer)
        values = progress.values
        self.best, self.best_epoch = values["best"], values["best_epoch"]
        self.products = values.get("products", "default")
        rows = zip(self.run.metrics(), self.run.seconds(), strict=False)
        self.rows = [row | {"seconds": seconds} for row, seconds in rows][: values["epoch"]]
        self.partial = PartialEpoch.from_progress(progress) if "step" in values else None
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


def columns(split: str, terms: Sequence[Terms], data: DataSet) -> dict[str, float]:
    """Means over all batches and of the last batch alone, in nats per observation, and bits per dimension.

    The densities are those of the data as they came, whatever the programs are shown.
    """
    row = {}
    for prefix, part in ((split, mean_terms(terms)), (f"{split}_last_batch", mean_terms(terms[-1:]))):
        row[f"{prefix}_negative_elbo"] = float(part.negative_elbo) - data.log_det
        row[f"{prefix}_kl"] = float(part.kl)
        row[f"{prefix}_reconstruction"] = float(part.reconstruction) - data.log_det
    row[f"{split}_bits_per_dim"] = float(bits_per_dim(row[f"{split}_negative_elbo"], (data.num_dims,)))
    return row
