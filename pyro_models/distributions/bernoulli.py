"""Images of binary pixels."""

import warnings
from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.nn.functional import softplus

from pyro_models.distributions.pixels import Shape


class BernoulliImage(dist.TorchDistribution):
    r"""Independent binary pixels.

    .. math:: \log p(x) = x^T \mathrm{logits} - \sum_d \log(1 + e^{\mathrm{logits}_d})

    The same as ``Bernoulli(logits=logits).to_event(3)``, in two passes over memory instead of eight.

    Shapes: logits are (\*, C, H, W), ``batch_shape`` is \*, ``event_shape`` (C, H, W).
    """

    arg_constraints = {"logits": constraints.independent(constraints.real, 3)}
    support = constraints.independent(constraints.boolean, 3)

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-3], logits.shape[-3:], validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: "BernoulliImage | None" = None) -> "BernoulliImage":
        return BernoulliImage(self.logits.expand(*batch_shape, *self.event_shape), validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    @property
    def raw(self) -> Tensor:
        """Deprecated: the old name of :attr:`logits`."""
        warnings.warn("BernoulliImage.raw is deprecated: use logits", DeprecationWarning, stacklevel=2)
        return self.logits

    def conditional_logits(self, x: Tensor) -> Tensor:
        """The logit of each pixel of x given the pixels before it; here they make no difference."""
        return self.logits

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits = self.conditional_logits(value)
        with torch.autocast(logits.device.type, enabled=False):  # it would sum in half precision
            chosen = torch.einsum("...d,...d->...", logits.flatten(-3), value.to(logits).flatten(-3))
        return chosen - softplus(logits).flatten(-3).sum(-1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(self._extended_shape(torch.Size(sample_shape))))


class AutoregressiveBernoulli(BernoulliImage):
    r"""Binary pixels in raster order, each with a logit that depends on the pixels before it.

    .. math::
        \log p(x) = \sum_d \log \mathrm{Bernoulli}(x_d;\ \sigma(\mathrm{logits}_d + h_d(x_{<d})))

    Drawing an image calls the network once for each pixel; the mean has no closed form.

    Shapes: as for :class:`BernoulliImage`.

    Args:
        logits: the part of the logits that depends on no pixel.
        network: h, from images to what is added to the logits; its output at a pixel must not
            depend on that pixel or any after it.
    """

    def __init__(self, logits: Tensor, network: Callable[[Tensor], Tensor], validate_args: bool | None = None) -> None:
        super().__init__(logits, validate_args)
        self.network = network

    def expand(self, batch_shape: Shape, _instance: BernoulliImage | None = None) -> "AutoregressiveBernoulli":
        logits = self.logits.expand(*batch_shape, *self.event_shape)
        return AutoregressiveBernoulli(logits, self.network, validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("the mean of pixels that depend on one another has no closed form")

    def conditional_logits(self, x: Tensor) -> Tensor:
        return self.logits + self.network(x)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            noise = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device).flatten(-3)
            x = torch.zeros_like(noise)
            for pixel in range(x.shape[-1]):
                logits = self.conditional_logits(x.reshape(shape)).flatten(-3)
                x[..., pixel] = (noise[..., pixel] < logits[..., pixel].sigmoid()).to(x)
            return x.reshape(shape)
