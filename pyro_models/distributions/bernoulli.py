"""Images of binary pixels."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.nn.functional import softplus

from pyro_models.distributions.pixels import Shape


class BernoulliImage(dist.TorchDistribution):
    r"""Independent binary pixels.

    .. math:: \log p(x) = x^T \mathrm{raw} - \sum_d \log(1 + e^{\mathrm{raw}_d})

    The same as ``Bernoulli(logits=raw).to_event(3)`` in two passes over memory, not eight.

    Shapes: raw is (\*, C, H, W), ``batch_shape`` is \*, ``event_shape`` (C, H, W).

    Args:
        raw: logits of the pixels.
    """

    arg_constraints = {"raw": constraints.independent(constraints.real, 3)}
    support = constraints.independent(constraints.boolean, 3)

    def __init__(self, raw: Tensor, validate_args: bool | None = None) -> None:
        self.raw = raw
        super().__init__(raw.shape[:-3], raw.shape[-3:], validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: "BernoulliImage | None" = None) -> "BernoulliImage":
        return BernoulliImage(self.raw.expand(*batch_shape, *self.event_shape), validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        return self.raw.sigmoid()

    def logits(self, x: Tensor) -> Tensor:
        """The logits of the pixels of an image, which here are the same for all images."""
        return self.raw

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits = self.logits(value)
        with torch.autocast(logits.device.type, enabled=False):  # it would sum in half precision
            chosen = torch.einsum("...d,...d->...", logits.flatten(-3), value.to(logits).flatten(-3))
        return chosen - softplus(logits).flatten(-3).sum(-1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(self._extended_shape(torch.Size(sample_shape))))


class AutoregressiveBernoulli(BernoulliImage):
    r"""Binary pixels, each with a logit that those before it change.

    .. math::
        \log p(x) = \sum_d \log \mathrm{Bernoulli}(x_d;\ \sigma(\mathrm{raw}_d + h_d(x_{<d})))

    in raster order.  A draw calls the network once for each pixel; the mean is not known.

    Shapes: as for :class:`BernoulliImage`.

    Args:
        raw: the part of the logits that depends on no pixel.
        network: h, from images to logits; its output at a pixel must not depend on that pixel or
            on any after it.
    """

    def __init__(self, raw: Tensor, network: Callable[[Tensor], Tensor], validate_args: bool | None = None) -> None:
        super().__init__(raw, validate_args)
        self.network = network

    def expand(self, batch_shape: Shape, _instance: BernoulliImage | None = None) -> "AutoregressiveBernoulli":
        raw = self.raw.expand(*batch_shape, *self.event_shape)
        return AutoregressiveBernoulli(raw, self.network, validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("the mean of pixels that depend on one another is not known")

    def logits(self, x: Tensor) -> Tensor:
        return self.raw + self.network(x)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            noise = torch.rand(shape, dtype=self.raw.dtype, device=self.raw.device).flatten(-3)
            x = torch.zeros_like(noise)
            for pixel in range(x.shape[-1]):
                logits = self.logits(x.reshape(shape)).flatten(-3)
                x[..., pixel] = (noise[..., pixel] < logits[..., pixel].sigmoid()).to(x)
            return x.reshape(shape)
