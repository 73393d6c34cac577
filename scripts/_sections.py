"""What a report says of each kind of model."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, ClassVar

import torch
from _figures import against_normal, curves, image_grid, save
from _pictures import (
    base_points,
    draw,
    draw_at,
    each_class,
    interpolate,
    reconstruct,
    to_unit,
    traverse,
    with_other_labels,
)
from matplotlib.figure import Figure as Plot
from torch import nn

from inference import Images, Pair, Run
from pyro_models import VAE, Flow, FlowModel

SAMPLES = 16
STEPS = 10
BASE_IMAGES = 1000
TEMPERATURES = (0.5, 0.7, 0.85, 1.0)


@dataclass
class Figure:
    name: str
    figure: Plot
    caption: str
    kind: ClassVar[str] = "figure"

    def render(self, number: int, folder: Path) -> dict[str, Any]:
        """What the template needs; the picture is saved in the folder too."""
        path = save(self.figure, folder / f"figure_{number:02d}_{self.name}.png")
        data = base64.b64encode(path.read_bytes()).decode()
        return {"kind": self.kind, "number": number, "caption": self.caption, "data": data}


@dataclass
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    kind: ClassVar[str] = "table"

    def render(self, number: int, folder: Path) -> dict[str, Any]:
        """What the template needs."""
        return {"kind": self.kind, "number": number, **asdict(self)}


@dataclass
class Section:
    title: str
    summary: str
    blocks: list[Figure | Table]
    assumptions: list[str]


@singledispatch
def section(model: nn.Module, pair: Pair, run: Run, train: Images, test: Images) -> Section:
    """The part of a report on one run."""
    raise TypeError(f"no report is known for a {type(model).__name__}")


@section.register
def _(model: VAE, pair: Pair, run: Run, train: Images, test: Images) -> Section:
    rows = run.metrics()
    panels = {"negative_elbo": "negative ELBO (nats)", "kl": "KL (nats)", "reconstruction": "reconstruction (nats)"}
    name, how = test.name.split()[0], test.binarisation
    x = test.observe(slice(SAMPLES))
    grey = test.pixels[:SAMPLES] / (test.levels - 1)
    grid = image_grid(torch.cat([grey, x, reconstruct(pair, x)]), columns=SAMPLES)
    path = interpolate(model, pair.guide, x[0:5], x[5:10], STEPS).transpose(0, 1)
    moved, dims = traverse(pair, test.observe(slice(1000)), num_dims=6, steps=STEPS)
    blocks: list[Figure | Table] = [
        Figure(
            "vae_curves",
            curves(rows, panels),
            f"VAE on {name}: negative ELBO, KL term and reconstruction loss by epoch, in nats per image, as means "
            f"over all batches of the epoch; {_sizes(train, test)}, {how} binarisation, one draw of the code an "
            "image. The vertical axis leaves out the first epochs where they would flatten the rest.",
        ),
        Figure(
            "vae_curves_last_batch",
            curves(rows, panels, last_batch=True),
            "The same three quantities on the last batch of each epoch alone: noisier, since these batches hold "
            f"{_last_batch(train, pair)} training and {_last_batch(test, pair)} test images. The last test batch is "
            "always of the same images, whose level may differ from that of all.",
        ),
        *_bounds(run, pair),
        Figure(
            "vae_samples",
            image_grid(to_unit(model, draw(model, SAMPLES)), columns=4, inches=0.75),
            f"{SAMPLES} images from the trained VAE: pixel probabilities for codes drawn from the prior.",
        ),
        Figure(
            "vae_reconstructions",
            grid,
            f"The first {SAMPLES} test images; below each what the model sees of it ({how} binarisation), and its "
            "reconstruction from one draw of the code.",
        ),
        Figure(
            "vae_interpolation",
            image_grid(to_unit(model, path.flatten(0, 1)), columns=STEPS),
            "Each row: pixel probabilities along the straight line between the mean codes of two test images.",
        ),
        Figure(
            "vae_traversal",
            image_grid(to_unit(model, moved.flatten(0, 1)), columns=STEPS),
            "Latent traversal: each row moves one coordinate of the first test image's code from -3 to 3: "
            f"coordinates {', '.join(map(str, dims))} from the top, whose posterior means vary most over the first "
            f"{min(1000, len(test)):,} test images.",
        ),
    ]
    prior = type(model.prior).__name__
    return Section(
        f"Variational autoencoder on {name}",
        f"A model p(x, z) with prior {prior} over {model.prior().event_shape[0]} latent dimensions and Bernoulli "
        f"pixels, and an amortised guide q(z|x) of the form {type(pair.guide).__name__}, {_trained(run, pair)}.",
        blocks,
        [
            "Pixels are binary, independent given the code, and their probabilities come from the decoder.",
            _binarisation(how),
            "The negative ELBO is the KL term plus the reconstruction loss of one draw of the code; the KL term is in "
            "closed form where one is known.",
            "Importance-weighted bounds use the densities of the drawn codes, never the closed-form KL.",
            *_measured(run),
        ],
    )


@section.register
def _(model: FlowModel, pair: Pair, run: Run, train: Images, test: Images) -> Section:
    rows = run.metrics()
    name = test.name.split()[0]
    blocks: list[Figure | Table] = [
        Figure(
            "realnvp_curves",
            curves(rows, {"bits_per_dim": "negative ELBO (bits per dimension)"}),
            f"RealNVP on {name}: train and test loss by epoch, as means "
            f"over all batches; {_sizes(train, test)}, {test.levels} grey levels, one draw of the dequantisation "
            "noise an image. The vertical axis leaves out the first epochs where they would flatten the rest.",
        ),
        *_bounds(run, pair),
        *(_by_label if model.num_classes else _random)(model, pair, test),
    ]
    given = " given the label" if model.num_classes else ""
    if isinstance(model.flow, Flow):  # not any module that returns a distribution
        blocks += _base_space(model, pair, test)
    return Section(
        f"RealNVP on {name}{given}",
        f"A flow {_form(model.flow)} over {_dims(test)} intensities{given}, with the "
        f"dequantiser {type(pair.guide).__name__} as its guide, {_trained(run, pair)}.",
        blocks,
        [
            f"A pixel is one of {test.levels} levels; the model's probability of an image{given} is the integral of "
            "the flow's density over the cell of its pixels, which the dequantiser bounds from below.",
            "Bits per dimension are that bound's nats, divided by the number of pixels and log 2.",
            "The base distribution is a standard normal.",
            *_measured(run),
        ],
    )


def _form(flow: nn.Module) -> str:
    return f"of {len(flow.transforms)} transforms" if isinstance(flow, Flow) else f"({type(flow).__name__})"


def _base_space(model: FlowModel, pair: Pair, test: Images) -> list[Figure]:
    return [
        Figure(
            "realnvp_temperatures",
            image_grid(torch.cat([to_unit(model, draw_at(model, t, STEPS)) for t in TEMPERATURES]), columns=STEPS),
            f"Samples with the base narrowed to standard deviations {', '.join(map(str, TEMPERATURES))}, from the top: "
            "lower temperatures keep to what is likely.",
        ),
        Figure(
            "realnvp_base",
            against_normal(base_points(pair, *test.arguments(slice(BASE_IMAGES)))),
            f"The first {min(BASE_IMAGES, len(test)):,} test images in the base space, where a perfect flow would make "
            "them standard normal. Left: all coordinates together; right: the standard deviation of each coordinate "
            "over these images, in order.",
        ),
    ]


def _random(model: FlowModel, pair: Pair, test: Images) -> list[Figure]:
    samples = Figure(
        "realnvp_samples",
        image_grid(to_unit(model, draw(model, SAMPLES)), columns=4, inches=0.75),
        f"{SAMPLES} random samples from the trained flow, as integer pixels.",
    )
    if not isinstance(model.flow, Flow):
        return [samples]
    x = test.observe(slice(10))
    path = interpolate(model, pair.guide, x[0:5], x[5:10], STEPS).transpose(0, 1)
    return [
        samples,
        Figure(
            "realnvp_interpolation",
            image_grid(to_unit(model, path.flatten(0, 1)), columns=STEPS),
            "Each row: images along the great circle between the base-space points of two test images.",
        ),
    ]


def _by_label(model: FlowModel, pair: Pair, test: Images) -> list[Figure]:
    labels = each_class(model, STEPS)
    figures = [
        Figure(
            "realnvp_samples",
            image_grid(to_unit(model, draw(model, len(labels), labels)), columns=STEPS, rows=range(model.num_classes)),
            "Random samples from the trained flow, as integer pixels; each row given the label beside it.",
        )
    ]
    if isinstance(model.flow, Flow):
        x, given = test.arguments(slice(5))
        rows = torch.cat([x[None], with_other_labels(pair, x, given)]).transpose(0, 1)
        figures.append(
            Figure(
                "realnvp_other_labels",
                image_grid(to_unit(model, rows.flatten(0, 1)), columns=rows.shape[1]),
                f"Each row: a test image, then what its base-space point becomes given the labels 0 to "
                f"{model.num_classes - 1} in turn; its own label gives the image back.",
            )
        )
    return figures


def _bounds(run: Run, pair: Pair) -> list[Figure | Table]:
    """The table of importance-weighted bounds, where these weights have been evaluated."""
    record = run.evaluation()
    if record is None or record.get("epochs") != pair.epoch:
        return []
    entries = {"negative ELBO (m = 1)": record["negative_elbo"]}
    entries |= {f"negative IWAE, m = {m}": entry for m, entry in record["negative_iwae"].items() if m != "1"}
    header = ["bound", "nats per image", "± repeats", "± images"]
    rows = [[name, *_numbers(entry, 3)] for name, entry in entries.items()]
    if "bits_per_dim" in record:
        header = [*header, "bits per dimension", "± repeats"]
        in_bits = [record["bits_per_dim"][m] for m in ("1", *(m for m in record["negative_iwae"] if m != "1"))]
        rows = [[*row, *_numbers(entry, 4)[:2]] for row, entry in zip(rows, in_bits, strict=True)]
    given = ", given the label" if pair.config.get("conditional") else ""
    pixels = "integer pixels" if record["binarisation"] == "none" else f"{record['binarisation']} binarisation"
    caption = (
        f"Negative importance-weighted bounds on {record['num_test_images']:,} test images, {pixels}{given}: means of "
        f"{record['repeats']} repeats, with standard errors over repeats (new draws on the same images) and over "
        "images. The rows share their draws and images, so the differences between them are far better determined "
        "than the errors of each suggest."
    )
    return [Table(header, rows, caption)]


def _numbers(entry: dict[str, Any], digits: int) -> tuple[str, str, str]:
    values = entry["value"], entry["standard_error"], entry["standard_error_over_images"]
    return tuple("-" if value is None else f"{value:.{digits}f}" for value in values)  # type: ignore[return-value]


def _last_batch(images: Images, pair: Pair) -> int:
    held_out = pair.config.get("num_validation") or 0
    count = len(images) - (held_out if "train" in images.name else 0)
    return count % pair.config["batch_size"] or pair.config["batch_size"]


def _dims(images: Images) -> str:
    return "x".join(map(str, images.image_shape))


def _sizes(train: Images, test: Images) -> str:
    return f"{len(train):,} training and {len(test):,} test images of {_dims(test)}"


def _trained(run: Run, pair: Pair) -> str:
    config = pair.config
    objective = config["objective"]["class_path"].rpartition(".")[2]
    return (
        f"trained with {objective} and Adam (batches of {config['batch_size']}, largest learning rate "
        f"{config['lr']:g}, schedule {config['schedule']}) for {pair.epoch} epochs in {run.minutes:.1f} minutes; "
        f"seed {config['seed']}"
    )


def _binarisation(how: str) -> str:
    return {
        "dynamic": "Grey pixels are binarised dynamically: a fresh Bernoulli draw whenever an image is seen, in "
        "training and in testing.",
        "static": "Grey pixels are binarised statically: one Bernoulli draw a pixel, from a fixed seed.",
        "threshold": "Grey pixels are binarised by a threshold at half the full intensity.",
    }[how]


def _measured(run: Run) -> list[str]:
    config = run.config
    train = (
        "Training curves are measured in a second pass over the training images after each epoch."
        if config.get("full_train_pass")
        else "Training curves are averages over the epoch's own steps, while the weights move; test curves are "
        "measured after the epoch."
    )
    chosen = (
        f"The weights are those of the best epoch on {config['num_validation']} held-out training images."
        if config.get("num_validation")
        else "The weights are those of the last epoch; nothing was chosen by the test images."
    )
    return [train, chosen]
