"""A normal distribution with full covariance."""

import pyro.distributions as dist
import torch
from torch import Tensor

Shape = torch.Size | list[int] | tuple[int, ...]


class FullRankNormal(dist.MultivariateNormal):
    """A ``MultivariateNormal`` whose draws and densities have the precision of its parameters under autocast too.

    Its products of matrices would be rounded to eight bits: in a narrow direction of the distribution
    such a draw lies many standard deviations out.
    """

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        with torch.autocast(self.loc.device.type, enabled=False):
            return super().log_prob(value)
