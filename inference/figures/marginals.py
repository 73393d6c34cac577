"""The marginals of vectors: data against samples, coordinate by coordinate."""

from collections.abc import Callable, Sequence

from inference.data.protocol import DataSet
from inference.figures.drawing import undisturbed
from inference.figures.panels import named, panels
from inference.figures.points import check_vectors, chosen, data_and_samples, histogram, limits
from inference.figures.style import Figure


def plot_marginals(
    model: Callable, data: DataSet, coordinates: Sequence[int] | None = None, count: int = 2000, seed: int = 0
) -> Figure:
    """Histograms of single coordinates, of data and of as many samples, in the units of the data as they came.

    Values outside the window count to its outermost bins.

    Args:
        model: Pyro program p(x, latents), called with rows of the data, which it is kept from observing.
        data: vectors.
        coordinates: up to six; by default the first six, and the figure says so.
        count: most vectors of the data, chosen at random.
        seed: of the draws.

    Raises:
        ValueError: if the data are not vectors, a coordinate is unknown, ``count`` is below 1, or the model cannot be
            run on the data.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from inference import Vectors, plot_marginals
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1), obs=x)
        >>> figure = plot_marginals(model, Vectors("noise", torch.randn(100, 3)))
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['coordinate 0', 'coordinate 1', 'coordinate 2']
    """
    check_vectors(data, "marginals")
    shown = chosen(data.shape[0], coordinates)
    with undisturbed(seed, model):
        parts = data_and_samples(model, data, count)
    low, high = limits(parts["data"].values)
    with panels(shown, data.shape[0], "density") as (figure, axes):
        for axis, coordinate in zip(axes, shown, strict=True):
            axis.set_xlabel(named(data, coordinate))
            histogram(axis, parts, coordinate, float(low[coordinate]), float(high[coordinate]))
    return figure
