"""A normal distribution with full covariance."""

import pyro.distributions as dist
import torch
from torch import Tensor

Shape = torch.Size | list[int] | tuple[int, ...]


class FullRankNormal(dist.MultivariateNormal):
    """A ``MultivariateNormal`` whose draws and densities keep the precision of its parameters under autocast.

    Otherwise matrix products would be rounded to eight bits, and in a narrow direction of the
    distribution a draw could lie many standard deviations out.
    """

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().log_prob(value)
