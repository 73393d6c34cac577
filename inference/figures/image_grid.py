"""A grid of images."""

from collections.abc import Sequence

from matplotlib.style import context
from torch import Tensor

from inference.data.torchvision_ops import import_torchvision
from inference.figures.style import TYPE_SIZE, WIDEST, Figure


def image_grid(images: Tensor, columns: int, inches: float = 0.6, rows: Sequence[object] | None = None) -> Figure:
    """Images (N, C, H, W) with values in [0, 1], row by row; ``rows`` are names written beside them.

    Three channels are red, green and blue; two, or more than three, are drawn in grey, side by side.
    """
    import_torchvision()
    from torchvision.utils import make_grid

    if images.shape[1] not in (1, 3):
        images = images.transpose(1, 2).flatten(2)[:, None]
    padding = max(1, images.shape[-1] // 14)
    mosaic = make_grid(images.clamp(0, 1), nrow=columns, padding=padding, pad_value=1.0)
    _, height, width = mosaic.shape
    margin = 0.1 + 0.6 * TYPE_SIZE / 72 * max(len(str(name)) for name in rows) if rows else 0.0
    inches = min(inches, max(0.25, (WIDEST - margin) / columns))
    full = inches * columns + margin
    with context("default"):
        figure = Figure((full, inches * columns * height / width))
        axis = figure.add_axes((margin / full, 0, 1 - margin / full, 1))
        axis.imshow(mosaic.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
        axis.axis("off")
        for i, name in enumerate(rows or []):
            middle = padding + (images.shape[-2] + padding) * i + images.shape[-2] / 2
            axis.text(-padding, middle, str(name), ha="right", va="center", fontsize=TYPE_SIZE)
    return figure
