"""What a pair makes of data: each observation and its reconstruction from one draw of the latents."""

from collections.abc import Callable

import torch
from torch import Tensor

from inference.data.protocol import DataSet
from inference.figures.drawing import reconstructed, undisturbed
from inference.figures.image_grid import image_grid
from inference.figures.intensities import intensities
from inference.figures.panels import panels
from inference.figures.points import COLOURS, chosen, restored, scatter, some_of
from inference.figures.style import Figure
from inference.programs.checks import check_levels
from inference.programs.terms import draw_traces, sample_sites


def plot_reconstructions(
    model: Callable, guide: Callable, data: DataSet, count: int | None = None, seed: int = 0
) -> Figure:
    """Data and their reconstructions, the means p(x | latents) for one draw of the latents from the guide.

    Images: the first ones as the model sees them, above their reconstructions.  Vectors: a panel for each coordinate,
    at most six, with the reconstructions against the data, in the units of the data as they came.

    Args:
        model: Pyro program p(x, latents), of one observed site.
        guide: Pyro program q(latents | x), called likewise.
        data: images or vectors as the pair was fitted to.
        count: number of observations; by default the first 16 images, or 500 vectors chosen at random.
        seed: of the draws.

    Raises:
        ValueError: if the pair has no latents, cannot be run on the data or ``count`` is below 1, or if the data are
            neither images nor vectors.

    Example:
        >>> from inference import binarise, load_dataset, plot_reconstructions
        >>> from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal
        >>> test = binarise(load_dataset("digits")[1], "static")
        >>> model = VAE(StandardNormal(2), MLPDecoder(2, (1, 8, 8)))
        >>> guide = MeanFieldGuide(MLPEncoder((1, 8, 8)), latent_dim=2)
        >>> [text.get_text() for text in plot_reconstructions(model, guide, test, count=5).axes[0].texts]
        ['data', 'reconstruction']
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1; got {count}")
    if len(data.shape) not in (1, 3):
        raise ValueError(f"only images and vectors can be shown; {data.name} holds {tuple(data.shape)}")
    for half, program in (("model", model), ("guide", guide)):
        check_levels(program, data, half)
    with undisturbed(seed, model, guide):
        some = data.take(slice(count or 16)) if len(data.shape) == 3 else some_of(data, count or 500)
        seen = some.arguments()
        if not sample_sites(draw_traces(model, guide, *seen)[1]):
            raise ValueError("the pair has no latents: there is nothing to reconstruct from")
        again = reconstructed(model, guide, *seen)
    if len(data.shape) == 3:
        both = intensities(torch.cat([seen[0], again]), model, data)
        return image_grid(both, columns=len(again), rows=["data", "reconstruction"])
    return _by_coordinate(restored(data, seen[0]), restored(data, again))


def _by_coordinate(values: Tensor, again: Tensor) -> Figure:
    shown = chosen(values.shape[1], None)
    with panels(shown, values.shape[1], "reconstruction") as (figure, axes):
        for axis, coordinate in zip(axes, shown, strict=True):
            axis.set_xlabel(f"coordinate {coordinate} of the data")
            scatter(axis, torch.stack([values[:, coordinate], again[:, coordinate]], 1), colour=COLOURS["samples"])
            middle = float(values[:, coordinate].mean())
            axis.axline((middle, middle), slope=1, color="grey", linewidth=1, label="data = reconstruction")
    return figure
