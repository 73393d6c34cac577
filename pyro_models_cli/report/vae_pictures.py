"""Images made with a trained VAE."""

from typing import cast

import torch
from pyro import poutine
from torch import Tensor, nn

from inference.programs.terms import draw_traces
from pyro_models import VAE, straight
from pyro_models_cli.report.pictures import distribution_at, shown


@torch.no_grad()
def reconstruct(model: VAE, guide: nn.Module, *data: Tensor) -> Tensor:
    """p(x | latent), see :func:`shown`, for latents drawn from the guide."""
    model_trace, _ = draw_traces(model, guide, *data)
    return shown(distribution_at(model_trace, "x"))


@torch.no_grad()
def codes(model: VAE, guide: nn.Module, *data: Tensor) -> Tensor:
    """What the decoder takes for each image: the guide's mean code, or a draw where it is not known.

    Of two layers, the code nearest to the image, and the other one beside it if the decoder sees both.
    """
    trace = poutine.trace(guide).get_trace(*data)
    names = ["z1", "z2"][: 1 + getattr(model, "skip", False)] if "z1" in trace.nodes else ["z"]
    parts = []
    for name in names:
        try:
            parts.append(distribution_at(trace, name).mean)
        except NotImplementedError:
            parts.append(cast(Tensor, trace.nodes[name]["value"]))
    return torch.cat(parts, dim=-1)


@torch.no_grad()
def between(model: VAE, guide: nn.Module, *data: Tensor, steps: int) -> Tensor:
    """Images between the first half of those given and the second: (steps, B / 2, C, H, W).

    Labels are those of the first half.
    """
    start, end = codes(model, guide, *data).chunk(2)
    labels = [part[: len(start)] for part in data[1:]]
    return torch.stack([shown(model.image(z, *labels)) for z in straight(start, end, steps)])


@torch.no_grad()
def traverse(model: VAE, guide: nn.Module, *data: Tensor, num_dims: int, steps: int) -> tuple[Tensor, list[int]]:
    """Images as one code coordinate moves from -3 to 3, for the coordinates that images inform most.

    The coordinates are those whose posterior mean varies most over the images; all others stay at
    the code of the first image.  Shapes: (num_dims, steps, C, H, W), and the coordinates.
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
