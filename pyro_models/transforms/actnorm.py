"""A scale and shift per channel or coordinate, initialised to normalise the data."""

import math

import torch
import torch.distributed
from pyro.distributions import constraints
from torch import Tensor, nn

from pyro_models.sizes import check_at_least
from pyro_models.transforms.bijector import Bijector


class ActNorm(Bijector):
    r"""A learned scale and shift per channel, initialised from the first training batch.

    .. math::
        y = e^{s} \odot x + b, \qquad \log |\det J_f| = H W \sum_c s_c = -\log |\det J_{f^{-1}}|

    The first call of the inverse in training mode (from the data to the base) sets b and s to the
    mean and log standard deviation of each channel of y, so that x starts with mean 0 and variance
    1; where y is constant, s is 0.  This happens once, with the first batch of finite numbers: a flag saved with
    the weights records it.
    With several processes the statistics are taken over all of them.

    Shapes: x and y are (\*, C, H, W), or (\*, C) with ``event_dim=1``, without the factor H W;
    log-determinants are (\*), in nats.

    Args:
        channels: their number C.
        event_dim: number of dimensions of an event, of which the first is C: 3 for images, 1 for vectors.

    Raises:
        ValueError: if a number is below 1, or x has another number of channels.

    Source: Kingma and Dhariwal, "Glow" (2018), section 3.1.
    """

    initialised: Tensor

    def __init__(self, channels: int, event_dim: int = 3) -> None:
        super().__init__()
        check_at_least(1, channels=channels, event_dim=event_dim)
        self.domain = self.codomain = constraints.independent(constraints.real, event_dim)
        self.log_scale = nn.Parameter(torch.zeros(channels, *[1] * (event_dim - 1)))
        self.shift = nn.Parameter(torch.zeros_like(self.log_scale))
        self.register_buffer("initialised", torch.tensor(False))

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._check(x)
        return x * self.log_scale.exp() + self.shift, self._log_det(x)

    def inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        self._check(y)
        if self.training and not self.initialised:
            self._initialise(y)
        return (y - self.shift) * (-self.log_scale).exp(), -self._log_det(y)

    def _check(self, x: Tensor) -> None:
        channels = x.shape[-self.shift.dim()]
        if channels != len(self.shift):
            raise ValueError(f"this normalises {len(self.shift)} channels; got {channels}")

    def _log_det(self, x: Tensor) -> Tensor:
        split = x.dim() - self.shift.dim()
        return (math.prod(x.shape[split + 1 :]) * self.log_scale.sum()).expand(x.shape[:split])

    @torch.no_grad()
    def _initialise(self, y: Tensor) -> None:
        values = y.movedim(-self.shift.dim(), 0)[..., None].flatten(1)  # (C, all the rest)
        mean = _of_all_processes(values.mean(1))
        variance = _of_all_processes((values - mean[:, None]).square().mean(1))
        if not (mean.isfinite() & variance.isfinite()).all():
            return  # the next batch may do: a NaN here would stay for good
        constant = variance.sqrt() <= 4 * torch.finfo(y.dtype).eps * mean.abs()  # but for rounding
        self.shift.copy_(mean.view_as(self.shift))
        self.log_scale.copy_((0.5 * variance.log()).masked_fill(constant, 0.0).view_as(self.shift))
        self.initialised.fill_(True)


def _of_all_processes(mean: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(mean)
        mean /= torch.distributed.get_world_size()
    return mean
