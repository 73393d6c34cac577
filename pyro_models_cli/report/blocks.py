"""What a report shows of any pair: curves, samples, densities, latents."""

import torch

from inference import (
    Pair,
    Run,
    plot_curves,
    plot_density_2d,
    plot_latents_2d,
    plot_marginals,
    plot_pairs,
    plot_reconstructions,
    plot_samples,
)
from inference.figures.points import MOST
from inference.programs.terms import draw_traces, sample_sites
from pyro_models_cli.report.run_data import RunData
from pyro_models_cli.report.sections import SAMPLES, STEPS, Figure, Table, cut
from pyro_models_cli.report.tables import tables


def blocks_of(pair: Pair, run: Run, data: RunData) -> list[Figure | Table]:
    """The figures and tables of a pair on images or vectors; on other data, curves and bounds."""
    latents = latents_of(pair, data)
    blocks = [_curves(run, data, bool(latents)), *tables(run, pair, data)]
    if len(data.shown.shape) == 3:
        return [*blocks, *_of_images(pair, data, bool(latents))]
    if len(data.shown.shape) != 1:
        return blocks
    return [*blocks, *(_density(pair, data, latents) if data.shown.shape == (2,) else _coordinates(pair, data))] + [
        _latent(pair, data, name) for name, size in latents.items() if size > 1
    ]


@torch.no_grad()
def latents_of(pair: Pair, data: RunData) -> dict[str, int]:
    """The latents of a pair, and how many coordinates each has."""
    _, guide_trace = draw_traces(pair.model, pair.guide, *data.shown.arguments(slice(1)))
    return {name: site["value"].numel() for name, site in sample_sites(guide_trace).items()}


def _curves(run: Run, data: RunData, latents: bool) -> Figure:
    what = "Negative ELBO and its two terms" if latents else "Negative log-likelihood, to which the ELBO is equal here,"
    return Figure(
        "curves",
        plot_curves(run),
        f"{what} by epoch, in nats per {data.noun}, as means over all batches of the epoch; {data.sizes}.{cut(run)}",
    )


def _of_images(pair: Pair, data: RunData, latents: bool) -> list[Figure | Table]:
    count = STEPS if data.shown.conditional else SAMPLES
    rows = "; each row given the label beside it" if data.shown.conditional else ""
    samples = plot_samples(pair.model, count, data=data.shown)
    blocks: list[Figure | Table] = [Figure("samples", samples, f"Images drawn from the model{rows}.")]
    if latents:
        again = plot_reconstructions(pair.model, pair.guide, data.shown, SAMPLES)
        caption = f"The first {min(SAMPLES, len(data.shown))} {data.those} as the model sees them; below each its "
        blocks.append(Figure("reconstructions", again, f"{caption}reconstruction from one draw of the latents."))
    return blocks


def _density(pair: Pair, data: RunData, latents: dict[str, int]) -> list[Figure | Table]:
    estimate = (
        "estimated with importance samples, which mostly find too little where the guide is off"
        if latents
        else "exact at the centre of each cell"
    )
    averaged = ", averaged over the labels of the data" if data.shown.conditional else ""
    caption = (
        f"From the left: {data.those}, as many samples, and the density on a grid{averaged}, {estimate}. Its integral "
        "over the window is 1 if no density lies outside and the grid is fine enough. Units are those of the data."
    )
    return [Figure("density", plot_density_2d(pair.model, pair.guide, data.shown), caption)]


def _coordinates(pair: Pair, data: RunData) -> list[Figure | Table]:
    size = data.shown.shape[0]
    which = "all" if size <= MOST else f"the first {MOST} of {size}"
    marginals = Figure(
        "marginals",
        plot_marginals(pair.model, data.shown),
        f"Marginals of {data.those} and as many samples: {which} coordinates, in the units of the data. What lies "
        "outside a window is counted in its outermost bins.",
    )
    if size == 1:
        return [marginals]
    caption = f"Pairs of {which} coordinates: {data.those}, and as many samples."
    return [marginals, Figure("pairs", plot_pairs(pair.model, data.shown), caption)]


def _latent(pair: Pair, data: RunData, name: str) -> Figure:
    coloured = ", coloured by label" if getattr(data.shown, "labels", None) is not None else ""
    return Figure(
        f"latent_{name}",
        plot_latents_2d(pair.model, pair.guide, data.shown, name),
        f"Posterior means of the latent {name} for {data.those}{coloured}: the two coordinates that vary most, or the "
        "first two principal components if more than two vary.",
    )
