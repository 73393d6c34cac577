"""Images made with a trained VAE."""

from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn

from inference.figures.drawing import shown
from inference.programs.param_store import param_store_unchanged
from pyro_models import VAE, straight


@torch.no_grad()
def codes(model: VAE, guide: nn.Module, *data: Tensor) -> Tensor:
    """The decoder's input for each image: the guide's mean code, or a draw if the mean is unknown.

    With two codes, it is the one nearest to the image, joined by the other if the decoder sees both.
    """
    with param_store_unchanged():
        trace = poutine.trace(guide).get_trace(*data)
    names = ["z1", "z2"][: 1 + getattr(model, "skip", False)] if "z1" in trace.nodes else ["z"]
    parts = []
    for name in names:
        site: Any = trace.nodes[name]
        try:
            parts.append(site["fn"].mean)
        except NotImplementedError:
            parts.append(site["value"])
    return torch.cat(parts, dim=-1)


@torch.no_grad()
def between(model: VAE, guide: nn.Module, *data: Tensor, steps: int) -> Tensor:
    """Images between the first half of the batch and the second: (steps, B / 2, C, H, W).

    Their labels are those of the first half.
    """
    start, end = codes(model, guide, *data).chunk(2)
    labels = [part[: len(start)] for part in data[1:]]
    return torch.stack([shown(model.image(z, *labels)) for z in straight(start, end, steps)])


@torch.no_grad()
def traverse(model: VAE, guide: nn.Module, *data: Tensor, num_dims: int, steps: int) -> tuple[Tensor, list[int]]:
    """Images as one coordinate of the first image's code moves from -3 to 3, and the coordinates moved.

    These are the ones whose posterior mean varies most over the images.  Shape (num_dims, steps, C, H, W).
    """
    means = codes(model, guide, *data)
    dims = means.var(0).argsort(descending=True)[:num_dims].tolist()
    labels = [part[:1].expand(steps) for part in data[1:]]
    rows = []
    for dim in dims:
        z = means[:1].repeat(steps, 1)
        z[:, dim] = torch.linspace(-3, 3, steps)
        rows.append(shown(model.image(z, *labels)))
    return torch.stack(rows), dims
