"""Binary images drawn pixel by pixel."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pyro_models.distributions.pixels import Shape


class AutoregressiveBernoulli(dist.TorchDistribution):
    r"""Binary pixels, each with a logit that those before it change.

    .. math::
        \log p(x) = \sum_d \log \mathrm{Bernoulli}(x_d;\ \sigma(\mathrm{raw}_d + h_d(x_{<d})))

    in raster order.  A draw calls the network once for each pixel.

    Shapes: raw is (\*, C, H, W), ``batch_shape`` is \*, ``event_shape`` (C, H, W).

    Args:
        raw: the part of the logits that depends on no pixel.
        network: h, from images to logits; its output at a pixel must not depend on that pixel or
            on any after it.
    """

    arg_constraints = {"raw": constraints.independent(constraints.real, 3)}
    support = constraints.independent(constraints.boolean, 3)

    def __init__(self, raw: Tensor, network: Callable[[Tensor], Tensor], validate_args: bool | None = None) -> None:
        self.raw = raw
        self.network = network
        super().__init__(raw.shape[:-3], raw.shape[-3:], validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: None = None) -> "AutoregressiveBernoulli":
        raw = self.raw.expand(*batch_shape, *self.event_shape)
        return AutoregressiveBernoulli(raw, self.network, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = torch.broadcast_tensors(self.raw + self.network(value), value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none").flatten(-3).sum(-1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            noise = torch.rand(shape, dtype=self.raw.dtype, device=self.raw.device).flatten(-3)
            x = torch.zeros_like(noise)
            for pixel in range(x.shape[-1]):
                logits = (self.raw + self.network(x.reshape(shape))).flatten(-3)
                x[..., pixel] = (noise[..., pixel] < logits[..., pixel].sigmoid()).to(x)
            return x.reshape(shape)
