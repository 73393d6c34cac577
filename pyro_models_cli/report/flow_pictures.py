"""Images made with a trained flow."""

import torch
from pyro import poutine
from torch import Tensor

from inference import Pair
from pyro_models import FlowModel, Quantized, great_circle
from pyro_models_cli.report.pictures import device_of


@torch.no_grad()
def draw_at(model: FlowModel, temperature: float, count: int) -> Tensor:
    """Images of a flow whose base is narrowed; a conditional one draws the classes by turns."""
    labels = torch.arange(count, device=device_of(model)) % model.num_classes if model.num_classes else None
    flow = model.intensities(labels, temperature=temperature)
    return Quantized(flow.sample([] if model.num_classes else [count]), model.levels, len(flow.event_shape)).mean


@torch.no_grad()
def base_points(pair: Pair, *data: Tensor) -> Tensor:
    """The base-space points of images, dequantised by the guide: (B, D)."""
    y = poutine.trace(pair.guide).get_trace(*data).nodes["y"]["value"]
    return pair.model.intensities(*data[1:]).to_base(y)[0]


@torch.no_grad()
def with_other_labels(pair: Pair, x: Tensor, labels: Tensor) -> Tensor:
    """The images that the base-space points of x become under each class: (classes, B, C, H, W)."""
    epsilon = base_points(pair, x, labels)
    images = []
    for label in range(pair.model.num_classes):
        flow = pair.model.intensities(torch.full_like(labels, label))
        images.append(Quantized(flow.from_base(epsilon), pair.model.levels, len(flow.event_shape)).mean)
    return torch.stack(images)


@torch.no_grad()
def between(pair: Pair, a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Images on the great circle between the base-space points of a's images and b's: (steps, B, C, H, W)."""
    path = great_circle(base_points(pair, a), base_points(pair, b), steps)
    flow = pair.model.intensities()
    return Quantized(flow.from_base(path), pair.model.levels, len(flow.event_shape)).mean
