"""The standard normal prior."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_models.sizes import check_at_least


class StandardNormal(nn.Module):
    r"""p(z) = N(0, I).

    .. math:: \log p(z) = -\tfrac12 \sum_i (z_i^2 + \log 2\pi)

    Shapes: ``forward()`` returns a distribution of ``event_shape`` (latent_dim,).

    Args:
        latent_dim: size of the code.

    Raises:
        ValueError: if ``latent_dim`` is below 1.

    Example:
        >>> from pyro_models import StandardNormal
        >>> p = StandardNormal(2)()
        >>> z = p.sample([5])
        >>> z.shape, p.log_prob(z).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_at_least(1, latent_dim=latent_dim)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)
