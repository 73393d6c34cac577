"""One panel for each coordinate of vectors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from matplotlib.axes import Axes

from inference.data.errors import visible
from inference.data.protocol import DataSet
from inference.figures.style import WIDEST, Figure, styled


@contextmanager
def panels(shown: Sequence[int], size: int, ylabel: str) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with a panel for each coordinate shown, out of ``size``; they share a legend, that of the first."""
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with styled():
        figure = Figure((min(3.0 * columns + 0.6, WIDEST), 2.5 * rows + 0.7))
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for axis, coordinate in zip(axes, shown, strict=False):
            axis.set_xlabel(f"coordinate {coordinate}")
        for axis in axes[::columns]:
            axis.set_ylabel(ylabel)
        for axis in axes[len(shown) :]:
            axis.remove()
        yield figure, list(axes[: len(shown)])
        say_what(figure, axes[0], shown, size)


def named(data: DataSet | None, coordinate: int) -> str:
    """What a coordinate of the data is called: by its column, if it has a name."""
    columns = getattr(data, "columns", None)
    if columns is None:
        return f"coordinate {coordinate}"
    return f"{visible(columns[coordinate]):.30}".replace("$", r"\$")  # a pair of them would start a formula


def say_what(figure: Figure, axis: Axes, shown: Sequence[int], size: int) -> None:
    """The legend of one panel above all, and which coordinates are shown, if not all."""
    marks, own = axis.get_legend_handles_labels()
    title = f"coordinate{'s' * (len(shown) > 1)} {', '.join(map(str, shown))} of {size}" if len(shown) < size else None
    figure.legend(marks, own, title=title, alignment="left", loc="outside upper left", ncols=2)
