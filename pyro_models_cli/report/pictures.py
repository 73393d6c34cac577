"""Images made with a trained model: (N, C, H, W), on the model's own scale."""

from typing import Any

import torch
from torch import Tensor, nn

from inference.figures.drawing import drawn, shown


def to_unit(model: Any, images: Tensor) -> Tensor:
    """Images of the model as intensities from 0 to 1."""
    return images / (model.levels - 1)


@torch.no_grad()
def draw(model: nn.Module, count: int, labels: Tensor | None = None) -> Tensor:
    """The means p(x | latent) for latents drawn from the model, given labels if there are any; or draws."""
    return shown(drawn(model, count, labels)["fn"])


def each_class(model: nn.Module, count: int) -> Tensor | None:
    """``count`` labels of each class in turn; None unless the model is conditional."""
    classes = getattr(model, "num_classes", 0)
    return torch.arange(classes, device=device_of(model)).repeat_interleave(count) if classes else None


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
