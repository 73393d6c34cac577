"""The curves of a run: its metrics by epoch."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from inference.figures.style import COLOURS, WIDEST, Figure, styled
from inference.runs.reading import RunError
from inference.runs.run import Run

_LARGEST = 1e100
_LABELS = {
    "negative_elbo": "negative ELBO (nats)",
    "kl": "KL (nats)",
    "reconstruction": "reconstruction (nats)",
    "bits_per_dim": "negative ELBO (bits per dimension)",
}


def plot_curves(
    run: Run | Path | str | Sequence[dict[str, float]],
    metrics: Sequence[str] | None = None,
    last_batch: bool = False,
) -> Figure:
    """The metrics of a run by epoch: one panel each, with a line for every split that has it.

    The vertical axes leave out the first epochs where they would flatten the rest, and the lines what is not finite.

    Args:
        run: a run, its folder, or the rows that ``fit`` returns.
        metrics: some of "negative_elbo", "kl", "reconstruction" (nats for each observation) and "bits_per_dim"; by
            default the first three, or the first alone where one of its two terms is always 0.
        last_batch: show the last batch of each epoch, not the mean over all batches.

    Raises:
        RunError: if the run cannot be read, or has no metrics yet.
        ValueError: if it has no such metric.

    Example:
        >>> from inference import plot_curves
        >>> rows = [{"epoch": n, "train_kl": 1 / n, "train_negative_elbo": 5 / n} for n in range(1, 8)]
        >>> figure = plot_curves(rows, ["negative_elbo", "kl"])
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['negative ELBO (nats)', 'KL (nats)']
    """
    name, rows = _rows_of(run)
    if not rows:
        raise RunError(f"{name} has no metrics yet: train it first")
    middle = "_last_batch_" if last_batch else "_"
    known = [metric for metric in _LABELS if f"train{middle}{metric}" in rows[0]]
    metrics = _usual(rows, known, middle) if metrics is None else metrics
    unknown = [metric for metric in metrics if metric not in known]
    if unknown or not metrics:
        raise ValueError(f"{name} has no metric {', '.join(unknown)}: choose from {', '.join(known)}")
    with styled():
        figure = Figure((min(3.6 * len(metrics) + 0.6, WIDEST), 3.0))
        axes = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axis, metric in zip(axes, metrics, strict=True):
            _draw(axis, rows, f"{middle}{metric}")
            axis.set(xlabel="epoch", ylabel=_LABELS[metric])
        axes[0].legend()
    return figure


def _rows_of(run: Run | Path | str | Sequence[dict[str, float]]) -> tuple[str, Sequence[dict[str, float]]]:
    """The rows of a run, and what to call them."""
    if not isinstance(run, Run | Path | str):
        return "the run", run
    run = run if isinstance(run, Run) else Run.open(run)
    return str(run.path), run.metrics()


def _usual(rows: Sequence[dict[str, float]], known: Sequence[str], middle: str) -> list[str]:
    terms = [metric for metric in ("kl", "reconstruction") if metric in known]
    both = all(any(row[f"train{middle}{term}"] for row in rows) for term in terms)
    return ["negative_elbo", *(terms if both else [])]


def _draw(axis: Axes, rows: Sequence[dict[str, float]], name: str) -> None:
    """A line for every split, from columns such as "train" and this name."""
    epochs = [row["epoch"] for row in rows]
    splits = {split: colour for split, colour in COLOURS.items() if f"{split}{name}" in rows[0]}
    for split, colour in splits.items():
        values = [value if _can_be_drawn(value) else math.nan for value in (row[f"{split}{name}"] for row in rows)]
        axis.plot(epochs, values, color=colour, label=split, marker="o" if len(rows) < 3 else None)
    shown = [row[f"{split}{name}"] for row in rows[len(rows) // 20 :] for split in splits]
    if later := [value for value in shown if _can_be_drawn(value)]:
        margin = 0.05 * (max(later) - min(later)) or 1.0
        axis.set_ylim(min(later) - margin, max(later) + margin)  # the first epochs would flatten the rest
    axis.locator_params("x", integer=True, min_n_ticks=1)


def _can_be_drawn(value: float) -> bool:
    """Whether a value is finite, and not so large that an axis cannot have room around it."""
    return abs(value) < _LARGEST
