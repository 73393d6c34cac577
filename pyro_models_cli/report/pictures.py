"""Images made with a trained model: (N, C, H, W), on the model's own scale."""

from typing import Any, cast

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor, nn


def to_unit(model: Any, images: Tensor) -> Tensor:
    """Images of the model as intensities from 0 to 1."""
    return images / (model.levels - 1)


@torch.no_grad()
def draw(model: nn.Module, count: int, labels: Tensor | None = None) -> Tensor:
    """p(x | latent), see :func:`shown`, for latents drawn from the model, given labels if there are any."""
    data = (None,) if labels is None else (None, labels)
    return shown(distribution_at(poutine.trace(model).get_trace(*data, batch=count), "x"))


def distribution_at(trace: poutine.Trace, site: str) -> TorchDistribution:
    """The distribution at a sample site."""
    return cast(TorchDistribution, trace.nodes[site]["fn"])


def shown(images: TorchDistribution) -> Tensor:
    """The mean image, or a draw if the mean is unknown."""
    try:
        return images.mean
    except NotImplementedError:
        return images.sample()


def each_class(model: nn.Module, count: int) -> Tensor | None:
    """``count`` labels of each class in turn; None unless the model is conditional."""
    classes = getattr(model, "num_classes", 0)
    return torch.arange(classes, device=device_of(model)).repeat_interleave(count) if classes else None


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
