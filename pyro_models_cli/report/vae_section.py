"""The section of a report on a VAE."""

import torch
from torch import nn

from inference import Pair, Run, plot_curves
from inference.figures.drawing import reconstructed
from inference.figures.image_grid import image_grid
from pyro_models import VAE, AutoregressivePixels, PixelCNNPixels
from pyro_models_cli.report.blocks import blocks_of
from pyro_models_cli.report.pictures import draw, each_class, to_unit
from pyro_models_cli.report.run_data import RunData
from pyro_models_cli.report.sections import (
    SAMPLES,
    STEPS,
    Figure,
    Section,
    Table,
    binarisation,
    cut,
    last_batch,
    measured,
    pixels,
    section,
    trained,
)
from pyro_models_cli.report.tables import tables
from pyro_models_cli.report.vae_pictures import between, traverse


@section.register
def _(model: VAE, pair: Pair, run: Run, data: RunData) -> Section:
    given = " given the label" if model.num_classes else ""
    blocks, assumptions = (_of_images if data.noun == "image" else _of_vectors)(model, pair, run, data)
    return Section(
        f"Variational autoencoder on {data.name}{given}",
        f"A {type(model).__name__} with prior {type(model.prior).__name__} and likelihood "
        f"{type(model.likelihood).__name__}{given}, and as its guide the amortised {type(pair.guide).__name__} over "
        f"{pair.config['latent_dim']} latent dimensions, {trained(run, pair)}.",
        blocks,
        [
            *assumptions,
            "The negative ELBO is the KL term plus the reconstruction loss of one draw of the code; the KL term is in "
            "closed form where one is known.",
            "Importance-weighted bounds use the densities of the drawn codes, never the closed-form KL.",
            *measured(run, data),
        ],
    )


def _of_vectors(model: VAE, pair: Pair, run: Run, data: RunData) -> tuple[list[Figure | Table], list[str]]:
    return blocks_of(pair, run, data), ["Coordinates are independent given the code."]


def _of_images(model: VAE, pair: Pair, run: Run, data: RunData) -> tuple[list[Figure | Table], list[str]]:
    shown, how_pixels = "pixel probabilities" if model.levels == 2 else "mean intensities", "independent given the code"
    if isinstance(model.likelihood, AutoregressivePixels | PixelCNNPixels):
        shown, how_pixels = "draws", "each drawn given the code and the pixels before it"
    # drawn in this order, so that a seed always gives the same report
    reconstructions, walks = _reconstructions(model, pair.guide, data), _walks(model, pair.guide, data, shown)
    blocks = [
        *_curves(pair, run, data),
        *tables(run, pair, data),
        _samples(model, shown),
        reconstructions,
        *walks,
    ]
    return blocks, [
        f"Pixels take {model.levels} values and are {how_pixels}.",
        *binarisation(data.shown.binarisation),
    ]


def _curves(pair: Pair, run: Run, data: RunData) -> list[Figure]:
    terms = ["negative_elbo", "kl", "reconstruction"]
    always = (
        ""
        if data.test is None
        else (" The last test batch is always of the same images, whose level may differ from that of all.")
    )
    return [
        Figure(
            "vae_curves",
            plot_curves(run, terms),
            f"VAE on {data.name}: negative ELBO, KL term and reconstruction loss by epoch, in nats per image, as means "
            f"over all batches of the epoch; {data.sizes}, {pixels(data.shown.binarisation)}, one draw of the code "
            f"per image.{cut(run)}",
        ),
        Figure(
            "vae_curves_last_batch",
            plot_curves(run, terms, last_batch=True),
            "The same three quantities on the last batch of each epoch only: noisier, since these batches hold "
            f"{last_batch(data, pair)}.{always}",
        ),
    ]


def _samples(model: VAE, shown: str) -> Figure:
    labels = each_class(model, STEPS)
    caption = f"Images from the trained VAE: {shown} for codes drawn from the prior"
    if labels is None:
        grid = image_grid(to_unit(model, draw(model, SAMPLES)), columns=4, inches=0.75)
        return Figure("vae_samples", grid, f"{caption}.")
    grid = image_grid(to_unit(model, draw(model, len(labels), labels)), STEPS, rows=range(model.num_classes))
    return Figure("vae_samples", grid, f"{caption}; each row given the label beside it.")


def _reconstructions(model: VAE, guide: nn.Module, data: RunData) -> Figure:
    test = data.shown
    seen = test.arguments(slice(SAMPLES))
    grey = test.pixels[:SAMPLES] / (test.levels - 1)
    both = to_unit(model, torch.cat([seen[0], reconstructed(model, guide, *seen)]))
    return Figure(
        "vae_reconstructions",
        image_grid(torch.cat([grey, both]), columns=len(grey)),
        f"The first {len(grey)} {data.those}; below each what the model sees of it ({pixels(test.binarisation)}), and "
        "its reconstruction from one draw of the code.",
    )


def _walks(model: VAE, guide: nn.Module, data: RunData, shown: str) -> list[Figure]:
    """Images along a line between two codes, and along single coordinates."""
    if len(data.shown) < 2:
        return []
    path = between(model, guide, *data.shown.arguments(data.paired), steps=STEPS).transpose(0, 1)
    moved, dims = traverse(model, guide, *data.shown.arguments(slice(1000)), num_dims=6, steps=STEPS)
    of_first = ", given the label of the first" if model.num_classes else ""
    return [
        Figure(
            "vae_interpolation",
            image_grid(to_unit(model, path.flatten(0, 1)), columns=STEPS),
            f"Each row: {shown} along the straight line between the mean codes of two {data.those}{of_first}.",
        ),
        Figure(
            "vae_traversal",
            image_grid(to_unit(model, moved.flatten(0, 1)), columns=STEPS),
            f"Latent traversal: each row moves one coordinate of the first {data.split} image's code from -3 to 3: "
            f"coordinates {', '.join(map(str, dims))} from the top, whose posterior means vary most over the first "
            f"{min(1000, len(data.shown)):,} {data.those}.",
        ),
    ]
