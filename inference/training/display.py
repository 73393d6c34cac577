"""What a run shows while it trains: a bar with the latest numbers, a line an epoch, and a tracker's rows."""

from collections.abc import Sequence
from typing import Any, Literal

from inference.data.protocol import DataSet
from inference.programs.terms import Terms
from inference.runs.trackers import Tracking
from inference.system.progress import Bar
from inference.training.history import columns

Metric = Literal["negative_elbo", "bits_per_dim"]
_AVERAGED = 20  # steps behind the number in the bar


class Display:
    """Shows a run's progress; use it in a ``with`` statement.

    Args:
        metric: the number to show; None shows nothing.
        epochs: in all.
        steps_per_epoch: so many.
        done: steps that were taken before, by a run that is resumed.
        tracking: where the metrics of every epoch go, or None.
    """

    def __init__(
        self, metric: Metric | None, epochs: int, steps_per_epoch: int, done: int, tracking: Tracking | None
    ) -> None:
        self.metric = metric
        self.words = (metric or "").replace("_", " ")
        self.epochs = epochs
        self.tracking = tracking
        total = epochs * steps_per_epoch
        self.bar = Bar("training", total=total, unit="steps", initial=done, quiet=metric is None)

    def __enter__(self) -> "Display":
        self.bar.__enter__()
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        if kind is None:
            self.bar.finish()
        self.bar.__exit__(kind, *error)
        if self.tracking is not None:
            self.tracking.close(finished=kind is None)

    def add_step(self, epoch: int, terms: Sequence[Terms], data: DataSet) -> None:
        if self.bar.update() and terms and self.metric:
            value = columns("", terms[-_AVERAGED:], data)[f"_{self.metric}"]
            self.bar.set_postfix_str(f"epoch {epoch}, {self.words} {value:.3f}", refresh=False)

    def add_epoch(self, row: dict[str, float]) -> None:
        """Show the row of an epoch, and log its metrics."""
        epoch = int(row["epoch"])
        if self.metric is not None:
            epochs = f"epoch {epoch}/{self.epochs}"
            names = {split: f"{split}_{self.metric}" for split in ("train", "test")}
            values = [f"{split} {row[name]:.3f}" for split, name in names.items() if name in row]
            self.bar.set_postfix_str(f"{epochs}, {values[-1]}", refresh=False)
            self.bar.say(f"{epochs}: {self.words} {', '.join(values)}, {row['seconds']:.1f} s")
        if self.tracking is not None:
            self.tracking.add({name: value for name, value in row.items() if name not in ("epoch", "seconds")}, epoch)
