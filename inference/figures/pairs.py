"""Pairs of coordinates of vectors: data and samples in the same panels."""

from collections.abc import Callable, Sequence

from inference.data.protocol import DataSet
from inference.figures.drawing import undisturbed
from inference.figures.panels import named, say_what
from inference.figures.points import (
    COLOURS,
    Points,
    check_vectors,
    chosen,
    data_and_samples,
    histogram,
    limits,
    scatter,
)
from inference.figures.style import WIDEST, Figure, styled


def plot_pairs(
    model: Callable, data: DataSet, coordinates: Sequence[int] | None = None, count: int = 2000, seed: int = 0
) -> Figure:
    """Data and as many samples in every pair of coordinates, in the units of the data.

    The diagonal has the marginals, as :func:`~inference.plot_marginals` draws them.

    Args:
        model: Pyro program p(x, latents), called with rows of the data, which it is kept from observing.
        data: vectors.
        coordinates: up to six; by default the first six, and the figure says so.
        count: most vectors of the data, chosen at random.
        seed: of the draws.

    Raises:
        ValueError: as :func:`~inference.plot_marginals`.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from inference import Vectors, plot_pairs
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1), obs=x)
        >>> len(plot_pairs(model, Vectors("noise", torch.randn(100, 3))).axes)
        6
    """
    check_vectors(data, "pair plots")
    shown = chosen(data.shape[0], coordinates)
    with undisturbed(seed, model):
        return pair_grid(data_and_samples(model, data, count), shown, data)


def pair_grid(parts: dict[str, Points], shown: Sequence[int], data: DataSet | None) -> Figure:
    """A triangle of pairs of coordinates; without "data" it has samples alone."""
    first = next(iter(parts.values())).values
    low, high = (edge.tolist() for edge in limits(first))
    side = min(1.6 * len(shown), WIDEST - 0.5)
    with styled():
        figure = Figure((max(side, 4.0) + 0.5, max(side, 2.4) + 0.8))
        axes = figure.subplots(len(shown), len(shown), squeeze=False)
        for i, across in enumerate(shown):
            for axis, along in zip(axes[i, :i], shown, strict=False):
                for name, points in parts.items():
                    scatter(axis, points.values[:, [along, across]], colour=COLOURS[name])
                axis.set(xlim=(low[along], high[along]), ylim=(low[across], high[across]))
            histogram(axes[i, i], parts, across, low[across], high[across])
            axes[i, i].set_yticks([])
            for axis in axes[i, i + 1 :]:
                axis.remove()
        for axis in figure.axes:
            axis.label_outer()
        for axis, coordinate in zip(axes[-1], shown, strict=True):
            axis.set_xlabel(named(data, coordinate))
        for axis, coordinate in zip(axes[:, 0], shown, strict=True):
            axis.set_ylabel(named(data, coordinate) if len(shown) > 1 else "density")
        say_what(figure, axes[0, 0], shown, first.shape[1])
    return figure
