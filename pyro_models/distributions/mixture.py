"""Mixtures of distributions over a code."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor

_WITHOUT_DOUBLES = ("mps",)  # devices


class NormalMixture(dist.MixtureSameFamily):
    r"""A mixture of normal distributions of independent coordinates.

    .. math::
        \log p(z) = \log \sum_k w_k\, e^{-\frac12 d_k^2} \prod_i \frac{1}{s_{ki} \sqrt{2 \pi}}, \\
        d_k^2 = \Big| \frac{z - m_k}{s_k} \Big|^2
        = z^2 \cdot s_k^{-2} - 2 z \cdot m_k s_k^{-2} + \Big| \frac{m_k}{s_k} \Big|^2

    The distances are computed by matrix products, without a (\*, K, D) tensor, and in double
    precision, because their terms cancel.  Apple's GPUs have no doubles; there each distance is a sum
    of squares.

    Shapes: logits are (K,), loc and scale (K, D), ``event_shape`` is (D,).

    Args:
        logits: of the weights w.
        loc: the means m.
        scale: the standard deviations s, positive.

    Raises:
        ValueError: if the shapes do not fit.
    """

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        if loc.dim() != 2 or loc.shape != scale.shape or logits.shape != loc.shape[:1]:
            shapes = ", ".join(str(tuple(part.shape)) for part in (logits, loc, scale))
            raise ValueError(f"logits must be (K,), loc and scale (K, D); got {shapes}")
        self.loc, self.scale = loc, scale
        components = dist.Normal(loc, scale, validate_args=validate_args).to_event(1)
        weights = dist.Categorical(logits=logits, validate_args=validate_args)
        super().__init__(weights, components, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: None = None) -> dist.TorchDistribution:
        return dist.ExpandedDistribution(self, batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        if value.device.type in _WITHOUT_DOUBLES:
            return super().log_prob(value)
        z, loc, precision = value.double(), self.loc.double(), self.scale.double() ** -2
        squares = z**2 @ precision.T - 2 * z @ (loc * precision).T + (loc**2 * precision).sum(-1)
        peaks = self.mixture_distribution.logits - (self.scale * math.sqrt(2 * math.pi)).log().sum(-1)
        return (peaks - squares.clamp(min=0).to(value.dtype) / 2).logsumexp(-1)


def mixture(logits: Tensor, components: dist.TorchDistribution) -> dist.TorchDistribution:
    """A mixture of the components along their batch dimension, as the faster :class:`NormalMixture` if possible."""
    if isinstance(components, dist.Independent) and isinstance(components.base_dist, dist.Normal):
        return NormalMixture(logits, components.base_dist.loc, components.base_dist.scale)
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)
