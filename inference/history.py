"""What a run has measured so far, epoch by epoch, and its checkpoints."""

import math
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from inference.checkpoint import load_checkpoint, save_checkpoint
from inference.importance import bits_per_dim
from inference.run import Run, RunError
from inference.terms import Terms, mean_terms


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

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.rows)

    @property
    def epochs_since_best(self) -> int:
        return self.epoch - self.best_epoch

    def add(self, row: dict[str, float]) -> None:
        self.rows.append({"epoch": self.epoch + 1.0, **row})
        score = row.get("validation_negative_elbo", row["train_negative_elbo"])
        if score < self.best:
            self.best, self.best_epoch = score, self.epoch

    def save(self, model: nn.Module, guide: nn.Module, optimizer: Optimizer) -> None:
        """Write metrics and checkpoints; the one to resume from comes last, when the rest is there."""
        if self.run is None:
            return
        progress: dict[str, Any] = {"epoch": self.epoch, "best": self.best, "best_epoch": self.best_epoch}
        if self.best_epoch == self.epoch:
            save_checkpoint(self.run.checkpoints / "best.safetensors", model, guide, **progress)
        self.run.write_metrics(self.rows)
        save_checkpoint(self.run.checkpoints / "last.safetensors", model, guide, optimizer, **progress)

    def resume(self, model: nn.Module, guide: nn.Module, optimizer: Optimizer) -> None:
        """Go on where the run's last checkpoint stands; rows written after it are dropped.

        Raises:
            ValueError: if there is no run folder.
            CheckpointError: if the checkpoint is missing or does not fit.
            RunError: if rows of the metrics are missing.
        """
        if self.run is None:
            raise ValueError("there is nothing to resume without a run folder")
        progress = load_checkpoint(self.run.checkpoints / "last.safetensors", model, guide, optimizer)
        self.best, self.best_epoch = progress["best"], progress["best_epoch"]
        self.rows = self.run.metrics()[: progress["epoch"]]
        if self.epoch < progress["epoch"]:
            raise RunError(
                f"{self.run.path / 'metrics.csv'} has {self.epoch} rows but the checkpoint is of epoch "
                f"{progress['epoch']}: restore the file, or start a new run"
            )


def columns(split: str, terms: Sequence[Terms], image_shape: tuple[int, ...]) -> dict[str, float]:
    """Means over all batches and of the last batch alone, in nats per image, and bits per dimension."""
    row = {}
    for prefix, part in ((split, mean_terms(terms)), (f"{split}_last_batch", mean_terms(terms[-1:]))):
        row[f"{prefix}_negative_elbo"] = float(part.negative_elbo)
        row[f"{prefix}_kl"] = float(part.kl)
        row[f"{prefix}_reconstruction"] = float(part.reconstruction)
    row[f"{split}_bits_per_dim"] = float(bits_per_dim(row[f"{split}_negative_elbo"], image_shape))
    return row
