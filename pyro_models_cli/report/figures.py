"""Figures of a report alone: base-space points, sorted numbers, runs side by side."""

from collections.abc import Mapping, Sequence

import matplotlib
import torch
from torch import Tensor
from torch.distributions import Normal

from inference.figures.style import COLOURS, Figure, styled


def against_normal(points: Tensor, label: str) -> Figure:
    """Points (N, D), called ``label``, next to the standard normal they should follow."""
    points = points.cpu()
    with styled():
        figure = Figure((7.8, 3.0))
        left, right = figure.subplots(1, 2)
        grid = torch.linspace(-5, 5, 201)
        left.hist(points.flatten().clamp(-5, 5).numpy(), bins=100, density=True, color=COLOURS["test"], label=label)
        left.plot(grid, Normal(0.0, 1.0).log_prob(grid).exp(), color=COLOURS["train"], label="N(0, 1)")
        left.set(xlabel="base-space coordinate", ylabel="density")
        left.legend()
        right.plot(points.std(0).sort().values, color=COLOURS["test"], label=label)
        right.axhline(1.0, color=COLOURS["train"], label="N(0, 1)")
        right.legend()
        right.set(xlabel="coordinates, sorted", ylabel="standard deviation", ylim=(0, None))
    return figure


def bars(panels: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Numbers in descending order, one panel for each list."""
    with styled():
        figure = Figure((3.9 * len(panels), 3.0))
        axes = figure.subplots(1, len(panels), squeeze=False)
        for axis, (name, values) in zip(axes[0], panels.items(), strict=True):
            axis.bar(range(len(values)), sorted(values, reverse=True), color=COLOURS["train"])
            axis.set(xlabel=label, ylabel=name)
    return figure


def compare(runs: Mapping[str, Sequence[float]], label: str, totals: dict[str, float], total_label: str) -> Figure:
    """A curve over epochs and a bar for each run, in the same colour."""
    with styled():
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
