"""What a model draws: a grid of images, or points."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inference.data.protocol import DataSet
from inference.figures.drawing import drawn, shown, undisturbed
from inference.figures.image_grid import image_grid
from inference.figures.intensities import intensities
from inference.figures.pairs import pair_grid
from inference.figures.points import Points, chosen, limits, point_panel, restored, some_of
from inference.figures.style import Figure, styled


def plot_samples(
    model: Callable,
    count: int | None = None,
    labels: Sequence[int] | Tensor | None = None,
    data: DataSet | None = None,
    seed: int = 0,
) -> Figure:
    """Draws from a model: images in a grid, or vectors as points, beside the data if they are given.

    Of images it shows the means p(x | latents), for drawn latents; draws where the mean is unknown.  A model whose
    ``forward`` has the parameter ``batch`` draws by itself; any other is called with rows of the data, which it is
    kept from observing.  Vectors are in the units of the data as they came.

    Args:
        model: Pyro program p(x, latents), of one observed site; without data it must be called ``x``.
        count: number of draws, for each label if there are any; by default 16 images or 1,000 vectors.
        labels: for a conditional model, the labels to draw given, of images one row each; by default all.
        data: images or vectors as the model was fitted to.
        seed: of the draws.

    Raises:
        ValueError: if ``count`` is below 1, or the model cannot draw, or draws neither images nor vectors.

    Example:
        >>> from inference import plot_samples
        >>> from pyro_models import VAE, MLPDecoder, StandardNormal
        >>> figure = plot_samples(VAE(StandardNormal(2), MLPDecoder(2, (1, 8, 8))), count=9)
        >>> figure.axes[0].get_images()[0].get_array().shape  # three by three, with gaps between them
        (28, 28, 3)
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1; got {count}")
    classes = _classes(model, labels, data)
    with undisturbed(seed, model):
        site = _draw(model, count or 16, classes, data)
        sides = site["value"].dim() - 1
        if sides == 3:
            return _images(intensities(shown(site["fn"]), model, data), count or 16, classes)
        if sides != 1:
            raise ValueError(f"only images and vectors can be shown; {tuple(site['value'].shape[1:])} is neither")
        site = site if count else _draw(model, 1000, classes, data)
    each = None if classes is None else classes.repeat_interleave(count or 1000).cpu()
    parts = {"samples": Points(restored(data, site["value"]), each)}
    if data is not None:
        with undisturbed(seed):
            x, *seen = some_of(data, count or 1000).arguments()
        parts = {"data": Points(restored(data, x), seen[0].cpu() if seen else None), **parts}
    size = site["value"].shape[1]
    return _side_by_side(parts) if size == 2 else pair_grid(parts, chosen(size, None), data)


def _classes(model: Any, labels: Sequence[int] | Tensor | None, data: DataSet | None) -> Tensor | None:
    """The labels to draw given, on the device of the model."""
    if labels is None:
        known = getattr(model, "num_classes", None)
        number = (data.num_classes if data is not None and data.conditional else 0) if known is None else known
        labels = range(number)
    if not len(labels):
        return None
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.as_tensor(list(labels), device=None if first is None else first.device)


def _draw(model: Callable, count: int, classes: Tensor | None, data: DataSet | None) -> Any:
    each = None if classes is None else classes.repeat_interleave(count)
    return drawn(model, count if each is None else len(each), each, data)


def _images(images: Tensor, count: int, classes: Tensor | None) -> Figure:
    if classes is None:
        return image_grid(images, columns=max(1, round(count**0.5)))
    return image_grid(images, columns=count, rows=classes.tolist())


def _side_by_side(parts: dict[str, Points]) -> Figure:
    low, high = limits(next(iter(parts.values())).values)
    with styled():
        figure = Figure((4.0 * len(parts) + 0.6, 3.8))
        for axis, (name, points) in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts.items(), strict=True):
            point_panel(axis, name, points, low, high)
    return figure
