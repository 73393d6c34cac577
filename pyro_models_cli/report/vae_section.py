"""The section of a report on a VAE."""

import torch
from torch import nn

from inference import Images, Pair, Run, plot_curves
from inference.figures.image_grid import image_grid
from pyro_models import VAE, AutoregressivePixels
from pyro_models_cli.report.pictures import draw, each_class, to_unit
from pyro_models_cli.report.sections import (
    SAMPLES,
    STEPS,
    Figure,
    Section,
    binarisation,
    bounds,
    last_batch,
    measured,
    section,
    sizes,
    trained,
)
from pyro_models_cli.report.vae_pictures import between, reconstruct, traverse


@section.register
def _(model: VAE, pair: Pair, run: Run, train: Images, test: Images) -> Section:
    shown, how_pixels = "pixel probabilities" if model.levels == 2 else "mean intensities", "independent given the code"
    if isinstance(model.likelihood, AutoregressivePixels):
        shown, how_pixels = "draws", "each drawn given the code and the pixels before it"
    given = " given the label" if model.num_classes else ""
    # drawn in this order, so that a seed always gives the same report
    reconstructions, walks = _reconstructions(model, pair.guide, test), _walks(model, pair.guide, test, shown)
    prior, pixels = type(model.prior).__name__, type(model.likelihood).__name__
    return Section(
        f"Variational autoencoder on {test.name.split()[0]}{given}",
        f"A {type(model).__name__} with prior {prior} and likelihood {pixels}{given}, and as its guide the amortised "
        f"{type(pair.guide).__name__} over {pair.config['latent_dim']} latent dimensions, {trained(run, pair)}.",
        [
            *_curves(pair, run, train, test),
            *bounds(run, pair),
            _samples(model, shown),
            reconstructions,
            *walks,
        ],
        [
            f"Pixels take {model.levels} values and are {how_pixels}.",
            *binarisation(test.binarisation),
            "The negative ELBO is the KL term plus the reconstruction loss of one draw of the code; the KL term is in "
            "closed form where one is known.",
            "Importance-weighted bounds use the densities of the drawn codes, never the closed-form KL.",
            *measured(run),
        ],
    )


def _curves(pair: Pair, run: Run, train: Images, test: Images) -> list[Figure]:
    terms = ["negative_elbo", "kl", "reconstruction"]
    return [
        Figure(
            "vae_curves",
            plot_curves(run, terms),
            f"VAE on {test.name.split()[0]}: negative ELBO, KL term and reconstruction loss by epoch, in nats per "
            f"image, as means over all batches of the epoch; {sizes(train, test)}, {_how(test.binarisation)}, one draw "
            "of the code an image. The vertical axis leaves out the first epochs where they would flatten the rest.",
        ),
        Figure(
            "vae_curves_last_batch",
            plot_curves(run, terms, last_batch=True),
            "The same three quantities on the last batch of each epoch only: noisier, since these batches hold "
            f"{last_batch(train, pair)} training and {last_batch(test, pair)} test images. The last test batch is "
            "always of the same images, whose level may differ from that of all.",
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


def _reconstructions(model: VAE, guide: nn.Module, test: Images) -> Figure:
    data = test.arguments(slice(SAMPLES))
    grey = test.pixels[:SAMPLES] / (test.levels - 1)
    seen = to_unit(model, torch.cat([data[0], reconstruct(model, guide, *data)]))
    return Figure(
        "vae_reconstructions",
        image_grid(torch.cat([grey, seen]), columns=SAMPLES),
        f"The first {SAMPLES} test images; below each what the model sees of it ({_how(test.binarisation)}), and its "
        "reconstruction from one draw of the code.",
    )


def _walks(model: VAE, guide: nn.Module, test: Images, shown: str) -> list[Figure]:
    """Images along a line between two codes, and along single coordinates."""
    path = between(model, guide, *test.arguments(slice(10)), steps=STEPS).transpose(0, 1)
    moved, dims = traverse(model, guide, *test.arguments(slice(1000)), num_dims=6, steps=STEPS)
    of_first = ", given the label of the first" if model.num_classes else ""
    return [
        Figure(
            "vae_interpolation",
            image_grid(to_unit(model, path.flatten(0, 1)), columns=STEPS),
            f"Each row: {shown} along the straight line between the mean codes of two test images{of_first}.",
        ),
        Figure(
            "vae_traversal",
            image_grid(to_unit(model, moved.flatten(0, 1)), columns=STEPS),
            "Latent traversal: each row moves one coordinate of the first test image's code from -3 to 3: "
            f"coordinates {', '.join(map(str, dims))} from the top, whose posterior means vary most over the first "
            f"{min(1000, len(test)):,} test images.",
        ),
    ]


def _how(binarisation: str) -> str:
    return "integer pixels" if binarisation == "none" else f"{binarisation} binarisation"
