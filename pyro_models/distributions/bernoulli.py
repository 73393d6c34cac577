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
    r"""Binary pixels in some order, such as row by row, each with a logit that depends on the pixels before it.

    .. math::
        \log p(x) = \sum_d \log \mathrm{Bernoulli}(x_d;\ \sigma(\mathrm{logits}_d + h_d(x_{<d})))

    A draw is the one image that agrees with its noise u, uniform on [0, 1]:

    .. math:: x_d = 1 \text{ if } u_d < \sigma(\mathrm{logits}_d + h_d(x_{<d})), \text{ else } 0

    All pixels are computed at once, again and again until none changes.  After n passes the first n pixels are
    right, and as a rule all are right long before the last pixel's turn.

    The mean of the image has no closed form; what figures show is a draw.

    Shapes: as for :class:`BernoulliImage`.

    Args:
        logits: the part of the logits that depends on no pixel.
        network: h, from images to what is added to the logits; its output at a pixel must not
            depend on that pixel or any after it.

    Source: for the draws, Wiggers and Hoogeboom, "Predictive sampling with forecasting autoregressive models"
    (2020), section 2.2; Song et al., "Accelerating feedforward computation via parallel nonlinear equation
    solving" (2021).
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
            noise = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
            x = (noise < self.logits.sigmoid()).to(noise)  # a guess
            for _ in range(self.event_shape.numel()):
                before, x = x, (noise < self.conditional_logits(x).sigmoid()).to(noise)
                if torch.equal(x, before):
                    break
            return x
