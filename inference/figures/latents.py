"""Where a guide places the data: posterior means of a latent, in the plane."""

from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from torch import Tensor

from inference.data.protocol import DataSet
from inference.evaluation.diagnosis import ACTIVE
from inference.evaluation.latents import posterior_means
from inference.figures.drawing import undisturbed
from inference.figures.points import scatter, some_of
from inference.figures.style import Figure, styled
from inference.programs.checks import check_levels
from inference.programs.terms import draw_traces, sample_sites


def plot_latents_2d(
    model: Callable, guide: Callable, data: DataSet, latent: str | None = None, count: int = 2000, seed: int = 0
) -> Figure:
    """The posterior means of a latent, E[z | x], as points in the plane, coloured by label if the data have labels.

    If at most two coordinates are active, the two whose means vary most; of more the first two principal components
    of all.  The axes say which, and what share of the variance the components have.

    Args:
        model: Pyro program p(x, latents).
        guide: Pyro program q(latents | x), called likewise.
        data: any that the pair takes.
        latent: the name of its site; not needed if there is one only.
        count: most observations, chosen at random.
        seed: of the draws.

    Raises:
        ValueError: if there is no such latent, or several and no name, or it has one coordinate only; if ``count`` is
            below 2, or the pair cannot be run on the data.

    Source: active coordinates, Burda, Grosse and Salakhutdinov (2016), section 5.2.

    Example:
        >>> from inference import binarise, load_dataset, plot_latents_2d
        >>> from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal
        >>> test = binarise(load_dataset("digits")[1], "static")
        >>> model = VAE(StandardNormal(2), MLPDecoder(2, (1, 8, 8)))
        >>> guide = MeanFieldGuide(MLPEncoder((1, 8, 8)), latent_dim=2)
        >>> len(plot_latents_2d(model, guide, test).axes[0].get_legend().get_texts())  # ten digits
        10
    """
    if count < 2:
        raise ValueError(f"count must be at least 2; got {count}")
    for half, program in (("model", model), ("guide", guide)):
        check_levels(program, data, half)
    with undisturbed(seed, model, guide):
        some = some_of(data, count)
        seen = some.arguments()
        name = _name_of(latent, list(sample_sites(draw_traces(model, guide, *(part[:2] for part in seen))[1])))
        means = posterior_means(guide, seen)[name].cpu()
    if means.shape[1] < 2:
        raise ValueError(f"latent {name!r} has one coordinate; this figure needs two")
    points, axes_named = _in_the_plane(means, name)
    labels = getattr(some, "labels", None)
    with styled():
        figure = Figure((5.4, 4.4))
        axis = figure.subplots()
        scatter(axis, points, None if labels is None else labels.cpu(), "#4C72B0")
        axis.set(title=f"posterior means of {name}, {len(points):,} of {data.name}")
        axis.set(xlabel=axes_named[0], ylabel=axes_named[1])
        _square(axis, points)
    return figure


def _name_of(latent: str | None, names: list[str]) -> str:
    if not names:
        raise ValueError("the pair has no latents: there are no posterior means to show")
    if latent is None and len(names) > 1:
        raise ValueError(f"the pair has several latents: choose one with latent=, from {', '.join(names)}")
    if latent is not None and latent not in names:
        raise ValueError(f"there is no latent {latent!r}: choose from {', '.join(names)}")
    return latent or names[0]


def _square(axis: Axes, points: Tensor) -> None:
    """A square window around points, with the same scale on both axes."""
    low, high = points.amin(0), points.amax(0)
    half = 0.55 * float((high - low).amax()) or 1.0
    (left, right), (bottom, top) = ((m - half, m + half) for m in ((low + high) / 2).tolist())
    axis.set(xlim=(left, right), ylim=(bottom, top), box_aspect=1)


def _in_the_plane(means: Tensor, name: str) -> tuple[Tensor, list[str]]:
    """Points (N, 2), and what their axes are."""
    variance = means.var(0)
    if int((variance > ACTIVE).sum()) <= 2:
        most = variance.argsort(descending=True)[:2].sort().values.tolist()
        return means[:, most], [f"{name}, coordinate {d}" for d in most]
    centred = means - means.mean(0)
    _, spread, directions = torch.linalg.svd(centred, full_matrices=False)
    share = spread.square() / spread.square().sum()
    named = [f"{name}, principal component {i + 1} ({100 * share[i]:.0f} % of the variance)" for i in range(2)]
    return centred @ directions[:2].T, named
