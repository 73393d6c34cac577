"""Shared by the flows over flattened images."""

import math
from collections.abc import Sequence

import torch
from torch.distributions import Transform
from torch.distributions.transforms import ReshapeTransform

from pyro_models.flows.flow import Flow
from pyro_models.transforms import Squash


def half_size(image_shape: Sequence[int]) -> int:
    """Half the number of pixels.

    Raises:
        ValueError: if that number is odd or zero.
    """
    size = math.prod(image_shape)
    if size % 2 or size < 2 or min(image_shape) < 1:
        raise ValueError(
            f"a coupling needs two equal halves, but images of shape {tuple(image_shape)} have {size} pixels, "
            "which is not an even number: crop or pad them"
        )
    return size // 2


def flat_flow(transforms: Sequence[Transform], image_shape: Sequence[int], alpha: float, context: int) -> Flow:
    """A flow that transforms vectors, reshapes them to images and squashes these to intensities from 0 to 1."""
    size = math.prod(image_shape)
    return Flow(
        [*transforms, ReshapeTransform(torch.Size([size]), torch.Size(image_shape)), Squash(alpha)],
        size,
        context,
    )
