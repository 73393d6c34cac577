"""The section of a report on a flow."""

import torch
from torch import nn

from inference import Pair, Run, plot_curves
from inference.figures.image_grid import image_grid
from pyro_models import Flow, FlowModel
from pyro_models_cli.report.figures import against_normal
from pyro_models_cli.report.flow_pictures import base_points, between, draw_at, with_other_labels
from pyro_models_cli.report.pictures import device_of, draw, to_unit
from pyro_models_cli.report.run_data import RunData
from pyro_models_cli.report.sections import (
    SAMPLES,
    STEPS,
    Figure,
    Section,
    Table,
    cut,
    measured,
    section,
    trained,
)
from pyro_models_cli.report.tables import tables

BASE_IMAGES = 1000
TEMPERATURES = (0.5, 0.7, 0.85, 1.0)


@section.register
def _(model: FlowModel, pair: Pair, run: Run, data: RunData) -> Section:
    name, test = data.name, data.shown
    blocks: list[Figure | Table] = [
        Figure(
            "realnvp_curves",
            plot_curves(run, ["bits_per_dim"]),
            f"RealNVP on {name}: train and test loss by epoch, as means "
            f"over all batches; {data.sizes}, {test.levels} grey levels, one draw of the dequantisation "
            f"noise per image.{cut(run)}",
        ),
        *tables(run, pair, data),
        *(_by_label if model.num_classes else _random)(model, pair.guide, data),
    ]
    given = " given the label" if model.num_classes else ""
    if isinstance(model.flow, Flow):  # not just a module that returns a distribution
        blocks += _base_space(model, pair.guide, data)
    return Section(
        f"RealNVP on {name}{given}",
        f"A flow {form(model.flow)} over {data.dims} intensities{given}, with the "
        f"dequantiser {type(pair.guide).__name__} as its guide, {trained(run, pair)}.",
        blocks,
        [
            f"A pixel is one of {test.levels} levels; the model's probability of an image{given} is the integral of "
            "the flow's density over the cell of its pixels, which the dequantiser bounds from below.",
            "Bits per dimension are that bound's nats, divided by the number of pixels and log 2.",
            "The base distribution is a standard normal.",
            *measured(run, data),
        ],
    )


def form(flow: nn.Module) -> str:
    """What a flow is made of, in words."""
    return f"of {len(flow.transforms)} transforms" if isinstance(flow, Flow) else f"({type(flow).__name__})"


def _base_space(model: FlowModel, guide: nn.Module, data: RunData) -> list[Figure]:
    # drawn in this order, so that a seed always gives the same report
    samples = torch.cat([to_unit(model, draw_at(model, temperature, STEPS)) for temperature in TEMPERATURES])
    points = base_points(model, guide, *data.shown.arguments(slice(BASE_IMAGES)))
    return [
        Figure(
            "realnvp_temperatures",
            image_grid(samples, columns=STEPS),
            f"Samples with the base narrowed to standard deviations {', '.join(map(str, TEMPERATURES))}, from the top: "
            "lower temperatures keep to what is likely.",
        ),
        Figure(
            "realnvp_base",
            against_normal(points, data.those),
            f"The first {len(points):,} {data.those} in the base space, where a perfect flow would make them standard "
            "normal. Left: all coordinates together; right: the standard deviation of each coordinate "
            "over these images, in order.",
        ),
    ]


def _random(model: FlowModel, guide: nn.Module, data: RunData) -> list[Figure]:
    samples = Figure(
        "realnvp_samples",
        image_grid(to_unit(model, draw(model, SAMPLES)), columns=4, inches=0.75),
        f"{SAMPLES} random samples from the trained flow, as integer pixels.",
    )
    if not isinstance(model.flow, Flow) or len(data.shown) < 2:
        return [samples]
    start, end = data.shown.observe(data.paired).chunk(2)
    path = between(model, guide, start, end, STEPS).transpose(0, 1)
    return [
        samples,
        Figure(
            "realnvp_interpolation",
            image_grid(to_unit(model, path.flatten(0, 1)), columns=STEPS),
            f"Each row: images along the great circle between the base-space points of two {data.those}.",
        ),
    ]


def _by_label(model: FlowModel, guide: nn.Module, data: RunData) -> list[Figure]:
    labels = torch.arange(model.num_classes, device=device_of(model)).repeat_interleave(STEPS)
    figures = [
        Figure(
            "realnvp_samples",
            image_grid(to_unit(model, draw(model, len(labels), labels)), columns=STEPS, rows=range(model.num_classes)),
            "Random samples from the trained flow, as integer pixels; each row given the label beside it.",
        )
    ]
    if isinstance(model.flow, Flow):
        x, given = data.shown.arguments(slice(5))
        rows = torch.cat([x[None], with_other_labels(model, guide, x, given)]).transpose(0, 1)
        figures.append(
            Figure(
                "realnvp_other_labels",
                image_grid(to_unit(model, rows.flatten(0, 1)), columns=rows.shape[1]),
                f"Each row: a {data.split} image, then what its base-space point becomes given the labels 0 to "
                f"{model.num_classes - 1} in turn; its own label gives the image back.",
            )
        )
    return figures
