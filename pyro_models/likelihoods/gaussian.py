"""A likelihood of vectors of real numbers."""

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_models.sizes import check_at_least


class GaussianVectors(nn.Module):
    r"""Real numbers, independent given the code, with a learned scale.

    .. math::
        x_d \sim N(\mathrm{mean}_d,\ \mathrm{scale}_d^2), \qquad
        \mathrm{scale}_d = \mathrm{min\_scale} + e^{s_d}

    The decoder gives the mean.  The log scale s is a parameter for each coordinate, which starts at 0,
    or with ``scale_from_decoder`` a second number of the decoder's.  The floor keeps densities finite
    where the decoder fits a coordinate exactly; its default is for standardised data.

    Shapes: the decoder's output is (\*, D), or (\*, D, 2) with ``scale_from_decoder``; ``forward``
    returns a distribution of ``event_shape`` (D,).

    Args:
        image_shape: (D,), the shape of a vector.
        scale_from_decoder: whether the scale depends on the code.
        min_scale: smallest scale, in the units of x.

    Raises:
        ValueError: if ``image_shape`` is not (D,), ``min_scale`` not positive and finite, or the
            decoder's output of another shape.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix C.2; a scale for each
    coordinate, Rybkin, Daniilidis and Levine, "Simple and effective VAE training with calibrated
    decoders" (2021).

    Example:
        >>> import torch
        >>> from pyro_models import GaussianVectors
        >>> p = GaussianVectors((3,))(torch.zeros(5, 3))
        >>> p.event_shape, p.log_prob(torch.zeros(5, 3)).shape
        (torch.Size([3]), torch.Size([5]))
    """

    def __init__(self, image_shape: Sequence[int], scale_from_decoder: bool = False, min_scale: float = 0.01) -> None:
        super().__init__()
        if len(image_shape) != 1:
            raise ValueError(f"GaussianVectors is for vectors, image_shape (D,); got {tuple(image_shape)}")
        check_at_least(1, D=image_shape[0])
        if not 0 < min_scale < math.inf:
            raise ValueError(f"min_scale must be a positive number; got {min_scale}")
        self.size = image_shape[0]
        self.per_pixel = 2 if scale_from_decoder else 1
        self.min_scale = min_scale
        self.log_scale = None if scale_from_decoder else nn.Parameter(torch.zeros(self.size))

    def forward(self, raw: Tensor) -> dist.TorchDistribution:
        expected = (self.size,) if self.log_scale is not None else (self.size, 2)
        if raw.shape[-len(expected) :] != expected:
            raise ValueError(
                f"GaussianVectors takes a decoder's output of shape (*, {', '.join(map(str, expected))}); got "
                f"{tuple(raw.shape)}: make the decoder with image_shape ({self.size},) and per_pixel={self.per_pixel}"
            )
        mean, log_scale = (raw, self.log_scale) if self.log_scale is not None else raw.unbind(-1)
        scale = self.min_scale + log_scale.clamp(max=30.0).exp()  # finite however large a training step was
        return dist.Normal(mean, scale).to_event(1)
