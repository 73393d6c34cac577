"""The look of all figures, and how a notebook or a file gets them."""

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib.figure
from matplotlib.style import context
from matplotlib.text import Text

from inference.system.files import write_whole

TYPE_SIZE = 10.0  # points, of all that is written in a figure
WIDEST = 9.0  # inches; wider figures would have to be shown smaller, type and all
_STYLE: dict[Any, Any] = {
    "font.size": TYPE_SIZE,
    "axes.titlesize": TYPE_SIZE,
    "figure.titlesize": TYPE_SIZE,
    "legend.title_fontsize": TYPE_SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
COLOURS = {"train": "#4C72B0", "test": "#DD8452", "validation": "#55A868"}


class Figure(matplotlib.figure.Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        return as_bytes(self, "png", dpi=100)


def styled() -> AbstractContextManager[None]:
    """Our style, whatever a matplotlibrc in the current folder says, which could run LaTeX."""
    return context(["default", _STYLE])


def written(figure: matplotlib.figure.Figure) -> list[Text]:
    """The texts that one sees in a figure."""
    with context("default"):
        figure.draw_without_rendering()  # only then do ticks have labels
    off = [part for axes in figure.axes if not axes.axison for part in (axes.xaxis, axes.yaxis)]
    unseen = {text for part in off for text in part.findobj(Text)}
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text not in unseen]
    return [text for text in texts if text.get_visible() and text.get_text()]


def as_bytes(figure: matplotlib.figure.Figure, kind: str, dpi: int = 160) -> bytes:
    """The content of a picture file of this kind, such as "png"."""
    picture = io.BytesIO()
    with context("default"):
        figure.savefig(picture, dpi=dpi, format=kind)
    return picture.getvalue()


def save(figure: matplotlib.figure.Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, as_bytes(figure, path.suffix.removeprefix(".")))
    return path
