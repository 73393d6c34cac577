"""Images made with a trained VAE."""

import torch
from pyro import poutine
from torch import Tensor

from inference import Pair, draw_traces
from pyro_models import straight


@torch.no_grad()
def reconstruct(pair: Pair, *data: Tensor) -> Tensor:
    """Means of p(x | latent) for latents drawn from the guide."""
    model_trace, _ = draw_traces(pair.model, pair.guide, *data)
    return model_trace.nodes["x"]["fn"].mean


@torch.no_grad()
def codes(pair: Pair, *data: Tensor) -> Tensor:
    """The guide's mean code of each image, or a draw where its mean is not known: (B, latent_dim).

    Of two layers, the code nearest to the image.
    """
    sites = poutine.trace(pair.guide).get_trace(*data).nodes
    site = sites["z1" if "z1" in sites else "z"]
    try:
        return site["fn"].mean
    except NotImplementedError:
        return site["value"]


@torch.no_grad()
def between(pair: Pair, *data: Tensor, steps: int) -> Tensor:
    """Images between the first half of those given and the second: (steps, B / 2, C, H, W).

    Labels are those of the first half.
    """
    start, end = codes(pair, *data).chunk(2)
    labels = [part[: len(start)] for part in data[1:]]
    return torch.stack([pair.model.image(z, *labels).mean for z in straight(start, end, steps)])


@torch.no_grad()
def traverse(pair: Pair, *data: Tensor, num_dims: int, steps: int) -> tuple[Tensor, list[int]]:
    """Images as one code coordinate moves from -3 to 3, for the coordinates that images inform most.

    The coordinates are those whose posterior mean varies most over the images; all others stay at
    the code of the first image.  Shapes: (num_dims, steps, C, H, W), and the coordinates.
    """
    means = codes(pair, *data)
    dims = means.var(0).argsort(descending=True)[:num_dims].tolist()
    labels = [part[:1].expand(steps) for part in data[1:]]
    rows = []
    for dim in dims:
        z = means[:1].repeat(steps, 1)
        z[:, dim] = torch.linspace(-3, 3, steps)
        rows.append(pair.model.image(z, *labels).mean)
    return torch.stack(rows), dims
