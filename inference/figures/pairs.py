"""Pairs of coordinates of vectors: data above the diagonal, samples below."""

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
from inference.figures.style import Figure, styled

_WHERE = {"data": "data (above the diagonal)", "samples": "samples (below)"}


def plot_pairs(
    model: Callable, data: DataSet, coordinates: Sequence[int] | None = None, count: int = 2000, seed: int = 0
) -> Figure:
    """Every pair of coordinates, data above the diagonal and as many samples below, in the units of the data.

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
        9
    """
    check_vectors(data, "pair plots")
    shown = chosen(data.shape[0], coordinates)
    with undisturbed(seed, model):
        return pair_grid(data_and_samples(model, data, count), shown, data)


def pair_grid(parts: dict[str, Points], shown: Sequence[int], data: DataSet | None) -> Figure:
    """A grid of pairs of coordinates; without "data" it has samples alone, below the diagonal."""
    first = next(iter(parts.values())).values
    low, high = (edge.tolist() for edge in limits(first))
    side = 1.6 * len(shown)
    with styled():
        figure = Figure((max(side, 4.0) + 0.5, max(side, 2.4) + 0.8))
        axes = figure.subplots(len(shown), len(shown), squeeze=False)
        for row, across in zip(axes, shown, strict=True):
            for axis, along in zip(row, shown, strict=True):
                if across == along:
                    histogram(axis, parts, along, low[along], high[along])
                    axis.set_yticks([])
                    continue
                name = "data" if shown.index(along) > shown.index(across) else "samples"
                if name not in parts:
                    axis.remove()
                    continue
                scatter(axis, parts[name].values[:, [along, across]], colour=COLOURS[name])
                axis.set(xlim=(low[along], high[along]), ylim=(low[across], high[across]))
        for axis in axes.flatten():
            axis.label_outer()
        for axis, coordinate in zip(axes[-1], shown, strict=True):
            axis.set_xlabel(named(data, coordinate))
        for axis, coordinate in zip(axes[:, 0], shown, strict=True):
            axis.set_ylabel(named(data, coordinate) if len(shown) > 1 else "density")
        names = [_WHERE[name] for name in parts] if len(parts) > 1 and len(shown) > 1 else None
        say_what(figure, axes[0, 0], shown, first.shape[1], names)
    return figure
