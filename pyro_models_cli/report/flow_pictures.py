"""Images made with a trained flow."""

import torch
from pyro import poutine
from torch import Tensor, nn

from inference.programs.param_store import param_store_unchanged
from pyro_models import FlowModel, Quantized, great_circle
from pyro_models_cli.report.pictures import device_of


@torch.no_grad()
def draw_at(model: FlowModel, temperature: float, count: int) -> Tensor:
    """Images of a flow with a narrower base; a conditional flow draws the classes in turn."""
    labels = torch.arange(count, device=device_of(model)) % model.num_classes if model.num_classes else None
    flow = model.intensities(labels, temperature=temperature)
    return Quantized(flow.sample([] if model.num_classes else [count]), model.levels, len(flow.event_shape)).mean


@torch.no_grad()
def base_points(model: FlowModel, guide: nn.Module, *data: Tensor) -> Tensor:
    """Base-space points (B, D) of images dequantised by the guide."""
    with param_store_unchanged():
        y = poutine.trace(guide).get_trace(*data).nodes["y"]["value"]
    return model.intensities(*data[1:]).to_base(y)[0]


@torch.no_grad()
def with_other_labels(model: FlowModel, guide: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """The images (classes, B, C, H, W) that the base-space points of x become under each class."""
    epsilon = base_points(model, guide, x, labels)
    images = []
    for label in range(model.num_classes):
        flow = model.intensities(torch.full_like(labels, label))
        images.append(Quantized(flow.from_base(epsilon), model.levels, len(flow.event_shape)).mean)
    return torch.stack(images)


@torch.no_grad()
def between(model: FlowModel, guide: nn.Module, a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Images (steps, B, C, H, W) on the great circle between the base-space points of a and b."""
    path = great_circle(base_points(model, guide, a), base_points(model, guide, b), steps)
    flow = model.intensities()
    return Quantized(flow.from_base(path), model.levels, len(flow.event_shape)).mean
