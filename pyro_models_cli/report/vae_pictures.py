"""Images made with a trained VAE."""

import torch
from pyro import poutine
from torch import Tensor

from inference import Pair, draw_traces
from pyro_models import straight
from pyro_models_cli.report.pictures import shown


@torch.no_grad()
def reconstruct(pair: Pair, *data: Tensor) -> Tensor:
    """p(x | latent), see :func:`shown`, for latents drawn from the guide."""
    model_trace, _ = draw_traces(pair.model, pair.guide, *data)
    return shown(model_trace.nodes["x"]["fn"])


@torch.no_grad()
def codes(pair: Pair, *data: Tensor) -> Tensor:
    """What the decoder takes for each image: the guide's mean code, or a draw where it is not known.

    Of two layers, the code nearest to the image, and the other one beside it if the decoder sees both.
    """
    sites = poutine.trace(pair.guide).get_trace(*data).nodes
    names = ["z1", "z2"][: 1 + getattr(pair.model, "skip", False)] if "z1" in sites else ["z"]
    parts = []
    for name in names:
        try:
            parts.append(sites[name]["fn"].mean)
        except NotImplementedError:
            parts.append(sites[name]["value"])
    return torch.cat(parts, dim=-1)


@torch.no_grad()
def between(pair: Pair, *data: Tensor, steps: int) -> Tensor:
    """Images between the first half of those given and the second: (steps, B / 2, C, H, W).

    Labels are those of the first half.
    """
    start, end = codes(pair, *data).chunk(2)
    labels = [part[: len(start)] for part in data[1:]]
    return torch.stack([shown(pair.model.image(z, *labels)) for z in straight(start, end, steps)])


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
        rows.append(shown(pair.model.image(z, *labels)))
    return torch.stack(rows), dims
