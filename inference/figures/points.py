"""Vectors as points: data beside samples in the units of the data, and which coordinates are shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from torch import Tensor

from inference.data.protocol import DataSet
from inference.figures.drawing import drawn

MOST = 6  # coordinates in one figure
COLOURS = {"data": "#4C72B0", "samples": "#DD8452"}
_MARGIN = 0.25  # beside the data, as a share of their range


@dataclass(frozen=True)
class Points:
    """Vectors (N, D) in the units of the data as they came, and a label for each if the model sees them."""

    values: Tensor
    labels: Tensor | None = None


def check_vectors(data: DataSet, what: str) -> None:
    """Make sure that data are vectors.

    Raises:
        ValueError: if not.
    """
    if len(data.shape) != 1:
        raise ValueError(f"{what} are of vectors, but {data.name} holds observations of shape {tuple(data.shape)}")


def restored(data: DataSet | None, x: Tensor) -> Tensor:
    """What programs see or draw in the units of the data, on the CPU.

    Raises:
        ValueError: if the data have another scale for programs and no ``restore``.
    """
    restore = getattr(data, "restore", None)
    if data is not None and restore is None and data.log_det:
        raise ValueError(f"{data.name} shows programs other units (log_det is {data.log_det:.3g}): it needs restore(x)")
    return (x if restore is None else restore(x)).cpu()


def some_of(data: DataSet, count: int) -> DataSet:
    """At most ``count`` observations, chosen at random: files are often sorted.

    Raises:
        ValueError: if ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1; got {count}")
    return data.take(torch.randperm(len(data))[:count])


def data_and_samples(model: Callable, data: DataSet, count: int) -> dict[str, Points]:
    """At most ``count`` of the data, and as many draws from the model, given the same labels if it takes them."""
    some = some_of(data, count)
    x, *labels = some.arguments()
    given = labels[0] if labels else None
    samples = drawn(model, len(x), given, some)["value"]
    shared = None if given is None else given.cpu()
    return {"data": Points(restored(data, x), shared), "samples": Points(restored(data, samples), shared)}


def chosen(size: int, coordinates: Sequence[int] | None) -> list[int]:
    """The coordinates to show: those asked for, or the first six.

    Raises:
        ValueError: if there are too many or none, or one is unknown or appears twice.
    """
    if coordinates is None:
        return list(range(min(size, MOST)))
    wrong = not 1 <= len(coordinates) <= MOST or len({*coordinates}) < len(coordinates)
    if wrong or not all(0 <= d < size for d in coordinates):
        raise ValueError(
            f"coordinates must be one to {MOST} different numbers from 0 to {size - 1}; got {list(coordinates)}"
        )
    return list(coordinates)


def limits(values: Tensor) -> tuple[Tensor, Tensor]:
    """The window of a figure in every coordinate: the range of the data and a quarter of it on both sides."""
    low, high = values.amin(0), values.amax(0)
    margin = _MARGIN * torch.where(high > low, high - low, torch.ones_like(low))
    return low - margin, high + margin


def scatter(axis: Axes, points: Tensor, labels: Tensor | None = None, colour: str | None = None) -> None:
    """Points (N, 2), in one colour or one for each label, with a legend or a scale."""
    style: dict[str, Any] = {"s": 10, "alpha": 0.6, "linewidths": 0, "rasterized": True}
    x, y = points.T.tolist()
    kinds = [] if labels is None else labels.unique().tolist()
    if labels is None:
        axis.scatter(x, y, color=colour, **style)
    elif labels.is_floating_point() or len(kinds) > 20:
        shades = axis.scatter(x, y, c=labels.tolist(), cmap="viridis", **style)
        axis.figure.colorbar(shades, ax=axis, label="label")
    else:
        colours = matplotlib.colormaps["tab10" if len(kinds) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
        for kind, own in zip(kinds, colours, strict=False):
            of_kind = points[labels == kind]
            axis.scatter(*of_kind.T.tolist(), color=own, label=str(kind), **style)
        axis.legend(title="label", loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)


def point_panel(axis: Axes, name: str, points: Points, low: Tensor, high: Tensor) -> None:
    """Points in the plane within a window; the title says how many lie outside."""
    scatter(axis, points.values, points.labels, COLOURS[name])
    noun = "observations" if name == "data" else name
    outside = int(((points.values < low) | (points.values > high)).any(1).sum())
    axis.set(
        title=f"{len(points.values):,} {noun}{f', {outside:,} outside' if outside else ''}",
        xlabel="coordinate 0",
        ylabel="coordinate 1",
        xlim=(float(low[0]), float(high[0])),
        ylim=(float(low[1]), float(high[1])),
    )


def histogram(axis: Axes, parts: dict[str, Points], coordinate: int, low: float, high: float) -> None:
    """The densities of one coordinate; what lies outside the window is counted in its outermost bins."""
    for name, points in parts.items():
        column = points.values[:, coordinate].clamp(low, high)
        bins = torch.linspace(low, high, max(10, min(40, round(len(column) ** 0.5))) + 1, dtype=torch.float64)
        filled: dict[str, Any] = {"histtype": "stepfilled", "alpha": 0.5}
        outlined: dict[str, Any] = {"histtype": "step", "linewidth": 1.5}
        style = filled if name == "data" else outlined
        axis.hist(column.tolist(), bins.tolist(), density=True, color=COLOURS[name], label=name, **style)
    axis.set_xlim(low, high)
