"""Images made with a trained pair: (N, C, H, W), on the model's own scale."""

from functools import singledispatch

import torch
from pyro import poutine
from torch import Tensor, nn

from inference import Pair, draw_traces
from pyro_models import VAE, FlowModel, Quantized, great_circle, straight


def to_unit(model: nn.Module, images: Tensor) -> Tensor:
    """Images of the model as intensities from 0 to 1."""
    return images / (model.levels - 1)


@torch.no_grad()
def draw(model: nn.Module, count: int, labels: Tensor | None = None) -> Tensor:
    """Means of p(x | latent) for latents drawn from the model, given the labels if there are any."""
    data = (None,) if labels is None else (None, labels)
    return poutine.trace(model).get_trace(*data, batch=count).nodes["x"]["fn"].mean


def each_class(model: nn.Module, count: int) -> Tensor | None:
    """``count`` labels of each class in turn, for a model that is given labels."""
    classes = getattr(model, "num_classes", 0)
    return torch.arange(classes).repeat_interleave(count) if classes else None


@torch.no_grad()
def draw_at(model: FlowModel, temperature: float, count: int) -> Tensor:
    """Images of a flow whose base is narrowed; a conditional one draws the classes by turns."""
    labels = torch.arange(count) % model.num_classes if model.num_classes else None
    flow = model.intensities(labels, temperature=temperature)
    return Quantized(flow.sample([] if model.num_classes else [count]), model.levels, len(flow.event_shape)).mean


@torch.no_grad()
def reconstruct(pair: Pair, x: Tensor) -> Tensor:
    """Means of p(x | latent) for latents drawn from the guide on x."""
    model_trace, _ = draw_traces(pair.model, pair.guide, x)
    return model_trace.nodes["x"]["fn"].mean


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


@singledispatch
def interpolate(model: nn.Module, guide: nn.Module, a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Images on a path in latent space from those in a to those in b: (steps, B, C, H, W)."""
    raise TypeError(f"no interpolation is known for a {type(model).__name__}")


@interpolate.register
@torch.no_grad()
def _(model: VAE, guide: nn.Module, a: Tensor, b: Tensor, steps: int) -> Tensor:
    start, end = (poutine.trace(guide).get_trace(x).nodes["z"]["fn"].mean for x in (a, b))
    return torch.stack([decode(model, z) for z in straight(start, end, steps)])


@interpolate.register
@torch.no_grad()
def _(model: FlowModel, guide: nn.Module, a: Tensor, b: Tensor, steps: int) -> Tensor:
    flow = model.intensities()
    start, end = (flow.to_base(poutine.trace(guide).get_trace(x).nodes["y"]["value"])[0] for x in (a, b))
    return Quantized(flow.from_base(great_circle(start, end, steps)), model.levels, len(flow.event_shape)).mean


@torch.no_grad()
def decode(model: VAE, z: Tensor) -> Tensor:
    """Means of p(x | z), (B, C, H, W)."""
    conditioned = poutine.condition(model, data={"z": z})
    return poutine.trace(conditioned).get_trace(None, batch=len(z)).nodes["x"]["fn"].mean


@torch.no_grad()
def traverse(pair: Pair, x: Tensor, num_dims: int, steps: int) -> tuple[Tensor, list[int]]:
    """Images as one code coordinate moves from -3 to 3, for the coordinates that images inform most.

    The coordinates are those whose posterior mean varies most over x; all others stay at the mean
    code of the first image.  Shapes: (num_dims, steps, C, H, W), and the coordinates.
    """
    means = poutine.trace(pair.guide).get_trace(x).nodes["z"]["fn"].mean
    dims = means.var(0).argsort(descending=True)[:num_dims].tolist()
    rows = []
    for dim in dims:
        z = means[:1].repeat(steps, 1)
        z[:, dim] = torch.linspace(-3, 3, steps)
        rows.append(decode(pair.model, z))
    return torch.stack(rows), dims
