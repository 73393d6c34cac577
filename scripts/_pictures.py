"""Images made with a trained pair: (N, C, H, W), on the model's own scale."""

from functools import singledispatch

import torch
from pyro import poutine
from torch import Tensor, nn

from inference import Pair, draw_traces
from pyro_models import VAE, FlowModel, great_circle, straight


def to_unit(model: nn.Module, images: Tensor) -> Tensor:
    """Images of the model as intensities from 0 to 1."""
    return images / (model.levels - 1)


@torch.no_grad()
def draw(model: nn.Module, count: int) -> Tensor:
    """Means of p(x | latent) for latents drawn from the model."""
    return poutine.trace(model).get_trace(None, batch=count).nodes["x"]["fn"].mean


@torch.no_grad()
def reconstruct(pair: Pair, x: Tensor) -> Tensor:
    """Means of p(x | latent) for latents drawn from the guide on x."""
    model_trace, _ = draw_traces(pair.model, pair.guide, x)
    return model_trace.nodes["x"]["fn"].mean


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
    flow = model.flow()
    start, end = (flow.to_base(poutine.trace(guide).get_trace(x).nodes["y"]["value"])[0] for x in (a, b))
    intensities = flow.from_base(great_circle(start, end, steps))
    return (intensities * model.levels).floor().clamp(0, model.levels - 1)


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
