"""Figures: curves of a run and grids of images."""

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from matplotlib.style import context
from torch import Tensor
from torch.distributions import Normal

from inference.data.torchvision_ops import import_torchvision
from inference.system.files import write_whole

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_COLOURS = {"train": "#4C72B0", "test": "#DD8452", "validation": "#55A868"}


def _styled() -> AbstractContextManager[None]:
    """Our style, whatever a matplotlibrc in the current folder says, which could run LaTeX."""
    return context(["default", _STYLE])


def curves(rows: Sequence[dict[str, float]], panels: dict[str, str], last_batch: bool = False) -> Figure:
    """Metrics by epoch, one panel each, with a line for every split that has it.

    Args:
        rows: of ``metrics.csv``.
        panels: each metric's name in the columns, such as "kl", and its axis label.
        last_batch: show the last batch of each epoch, not the mean over all batches.
    """
    middle = "_last_batch_" if last_batch else "_"
    epochs = [row["epoch"] for row in rows]
    with _styled():
        figure = Figure((3.6 * len(panels) + 0.6, 3.0))
        axes = figure.subplots(1, len(panels), squeeze=False)
        for axis, (metric, label) in zip(axes[0], panels.items(), strict=True):
            for split, colour in _COLOURS.items():
                column = f"{split}{middle}{metric}"
                if column in rows[0]:
                    values = [row[column] for row in rows]
                    axis.plot(epochs, values, color=colour, label=split, marker="o" if len(rows) < 3 else None)
            later = [
                row[f"{s}{middle}{metric}"]
                for row in rows[len(rows) // 20 :]
                for s in _COLOURS
                if f"{s}{middle}{metric}" in row
            ]
            margin = 0.05 * (max(later) - min(later)) or 1.0
            axis.set_ylim(min(later) - margin, max(later) + margin)  # the first epochs would flatten the rest
            axis.set(xlabel="epoch", ylabel=label)
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[0][0].legend()
    return figure


def against_normal(points: Tensor) -> Figure:
    """Points (N, D) next to the standard normal they should follow."""
    points = points.cpu()
    with _styled():
        figure = Figure((7.8, 3.0))
        left, right = figure.subplots(1, 2)
        grid = torch.linspace(-5, 5, 201)
        left.hist(
            points.flatten().clamp(-5, 5).numpy(), bins=100, density=True, color=_COLOURS["test"], label="test images"
        )
        left.plot(grid, Normal(0.0, 1.0).log_prob(grid).exp(), color=_COLOURS["train"], label="N(0, 1)")
        left.set(xlabel="base-space coordinate", ylabel="density")
        left.legend()
        right.plot(points.std(0).sort().values, color=_COLOURS["test"], label="test images")
        right.axhline(1.0, color=_COLOURS["train"], label="N(0, 1)")
        right.legend()
        right.set(xlabel="coordinates, sorted", ylabel="standard deviation", ylim=(0, None))
    return figure


def bars(panels: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Numbers in descending order, one panel for each list."""
    with _styled():
        figure = Figure((3.9 * len(panels), 3.0))
        axes = figure.subplots(1, len(panels), squeeze=False)
        for axis, (name, values) in zip(axes[0], panels.items(), strict=True):
            axis.bar(range(len(values)), sorted(values, reverse=True), color=_COLOURS["train"])
            axis.set(xlabel=label, ylabel=name)
    return figure


def compare(runs: Mapping[str, Sequence[float]], label: str, totals: dict[str, float], total_label: str) -> Figure:
    """A curve over epochs and a bar for each run, in the same colour."""
    with _styled():
        figure = Figure((8.6, 3.4))
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
        for values, colour in zip(runs.values(), colours, strict=False):
            left.semilogy(range(1, len(values) + 1), values, color=colour)
        left.set(xlabel="epoch", ylabel=label)
        right.barh(list(totals), list(totals.values()), color=colours[: len(totals)])
        for i, (value, tick) in enumerate(zip(totals.values(), right.get_yticklabels(), strict=True)):
            right.text(value, i, f" {value:g}", va="center")
            tick.set_color(colours[i])  # the name is all one sees of a bar of length zero
        right.invert_yaxis()
        right.grid(visible=False)
        right.set(xlabel=total_label)
    return figure


def image_grid(images: Tensor, columns: int, inches: float = 0.6, rows: Sequence[object] | None = None) -> Figure:
    """Images (N, C, H, W) with values in [0, 1], row by row; ``rows`` are names written beside them."""
    import_torchvision()
    from torchvision.utils import make_grid

    padding = max(1, images.shape[-1] // 14)
    mosaic = make_grid(images.clamp(0, 1), nrow=columns, padding=padding, pad_value=1.0)
    _, height, width = mosaic.shape
    margin = 0.5 * inches if rows else 0.0
    full = inches * columns + margin
    with context("default"):
        figure = Figure((full, inches * columns * height / width))
        axis = figure.add_axes((margin / full, 0, 1 - margin / full, 1))
        axis.imshow(mosaic.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
        axis.axis("off")
        for i, name in enumerate(rows or []):
            middle = padding + (images.shape[-2] + padding) * i + images.shape[-2] / 2
            axis.text(-padding, middle, str(name), ha="right", va="center", fontsize=18 * inches)
    return figure


def save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    with context("default"):
        figure.savefig(picture, dpi=160, format=path.suffix.removeprefix("."))
    write_whole(path, picture.getvalue())
    return path
