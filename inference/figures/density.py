"""The density of a pair in the plane, on a grid."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from inference.data.protocol import DataSet
from inference.figures.drawing import observed_site, undisturbed
from inference.figures.points import check_vectors, data_and_samples, limits, point_panel, restored, some_of
from inference.figures.style import WIDEST, Figure, styled
from inference.programs.checks import check_levels
from inference.programs.importance import iwae_bound, log_joint, log_weights
from inference.programs.in_support import in_support
from inference.programs.terms import draw_traces, sample_sites
from inference.programs.units import check_measures

_PAIRS_AT_ONCE = 2**16  # of a point of the grid and a sample
_MOST = 100_000  # vectors that the window and the shares of the labels are found from


def plot_density_2d(
    model: Callable,
    guide: Callable,
    data: DataSet,
    size: int = 150,
    num_samples: int = 100,
    count: int = 2000,
    seed: int = 0,
) -> Figure:
    r"""Data in the plane, as many samples, and the density on a grid, whose integral the title gives.

    .. math:: \log p(v) = \log p(x) + \mathrm{log\_det}, \qquad
        \log p(x) \approx \log \frac1S \sum_{s=1}^S \frac{p(x, z_s)}{q(z_s \mid x)}, \quad z_s \sim q(z \mid x)

    for the data as they came, v.  Without latents log p(x) is exact.  With them the estimate of p(x) is right on
    average, but mostly too small where the guide is off.  The integral is 1 up to such errors, and to what density
    lies beyond the window or is narrower than a cell.  A conditional pair is averaged over the labels of the data.

    Args:
        model: Pyro program p(x, latents).
        guide: Pyro program q(latents | x), called likewise.
        data: vectors of two coordinates.
        size: cells of the grid along each side.
        num_samples: importance samples for each cell, S.
        count: most vectors of the data to show, chosen at random.
        seed: of the draws.

    Raises:
        ValueError: if the data have not two coordinates, a number is below 1, or the pair cannot be run on them.

    Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016), section 3.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from inference import Vectors, plot_density_2d
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1), obs=x)
        >>> def guide(x):
        ...     pass
        >>> figure = plot_density_2d(model, guide, Vectors("noise", torch.randn(1000, 2)))
        >>> print(figure.axes[2].get_title())
        density, integral 1.000
    """
    check_vectors(data, "densities in the plane")
    if data.shape != (2,):
        raise ValueError(f"this density is of 2 coordinates, but {data.name} has {data.shape[0]}: see plot_pairs")
    if min(size, num_samples) < 1:
        raise ValueError(f"size and num_samples must be at least 1; got {size} and {num_samples}")
    for half, program in (("model", model), ("guide", guide)):
        check_levels(program, data, half)
    check_measures(model, guide, data)
    with undisturbed(seed, model, guide):
        parts = data_and_samples(model, data, count)
        x, *labels = some_of(data, _MOST).arguments()  # they may be too many for memory
        grid, area = _grid(x, size)
        latents = sample_sites(draw_traces(model, guide, x[:1], *(part[:1] for part in labels))[1])
        log_p = _log_density(model, guide, grid, num_samples if latents else 1, *labels).double()
    low, high = limits(restored(data, x))
    how = f"\n({num_samples} importance samples a cell)" if latents else ""
    with styled():
        figure = Figure((WIDEST, 3.1))
        axes = figure.subplots(1, 3)
        for axis, (name, points) in zip(axes, parts.items(), strict=False):
            point_panel(axis, name, points, low, high)
        cells = (*restored(data, grid).T, (log_p + data.log_det).exp().cpu())
        mesh = [part.reshape(size, size).numpy() for part in cells]
        shades = axes[2].pcolormesh(*mesh, shading="nearest", rasterized=True)
        figure.colorbar(shades, ax=axes[2], label="density")
        axes[2].set(title=f"density, integral {float(log_p.exp().sum()) * area:.3f}{how}")
        axes[2].set(xlabel="coordinate 0", ylabel="coordinate 1")
        axes[2].grid(visible=False)
    return figure


def _grid(x: Tensor, size: int) -> tuple[Tensor, float]:
    """The centres (size^2, 2) of equal cells that fill the window, and the area of one."""
    low, high = limits(x)
    steps = (torch.arange(size, dtype=x.dtype, device=x.device) + 0.5) / size
    along = [low[d] + (high[d] - low[d]) * steps for d in range(2)]
    return torch.cartesian_prod(*along), float((high - low).double().prod()) / size**2


def _log_density(model: Callable, guide: Callable, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Tensor:
    """log p(x), (B,), or its mean over the labels of the data, of p(x | label)."""
    weigh = partial(_weights_inside, model, guide)
    if labels is None:
        return iwae_bound(log_weights(model, guide, x, num_samples, _PAIRS_AT_ONCE, weigh=weigh), num_samples)
    parts = []
    for label, number in zip(*labels.unique(return_counts=True), strict=True):
        given = label.expand(len(x))
        log_w = log_weights(model, guide, x, num_samples, _PAIRS_AT_ONCE, labels=given, weigh=weigh)
        parts.append(iwae_bound(log_w, num_samples) + math.log(int(number) / len(labels)))
    return torch.stack(parts).logsumexp(0)


def _weights_inside(model: Callable, guide: Callable, count: int, *data: Tensor) -> Tensor:
    """Log importance weights; minus infinity outside the support of the model, where the grid may lie."""
    model_trace, guide_trace = draw_traces(model, guide, *data, particles=count)
    log_w = (log_joint(model_trace, data[0]) - log_joint(guide_trace, data[0])).expand(count, len(data[0]))
    site = observed_site(model_trace)
    inside = in_support(site["fn"], site["value"])
    return log_w if inside is None else log_w.masked_fill(~inside, -math.inf)
