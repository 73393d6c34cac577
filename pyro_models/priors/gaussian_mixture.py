"""A prior that is a learned mixture of Gaussians."""

import pyro.distributions as dist
import torch
from torch import nn

from pyro_models.distributions import NormalMixture


class GaussianMixture(nn.Module):
    r"""p(z) = sum_k w_k N(z; m_k, diag s_k^2), with learned weights, means and scales.

    .. math:: \log p(z) = \log \sum_k w_k \prod_i N(z_i;\ m_{ki},\ s_{ki}^2), \qquad w = \mathrm{softmax}(a)

    Shapes: ``forward()`` returns a distribution of ``event_shape`` (latent_dim,).

    Args:
        latent_dim: size of the code.
        num_components: number of Gaussians.
        spread: standard deviation of the initial means.

    Raises:
        ValueError: if ``latent_dim`` or ``num_components`` is below 1.

    Source: the "MoG" baseline of Tomczak and Welling, "VAE with a VampPrior" (2018).

    Example:
        >>> from pyro_models import GaussianMixture
        >>> GaussianMixture(2, num_components=50)().sample([5]).shape
        torch.Size([5, 2])
    """

    def __init__(self, latent_dim: int, num_components: int = 10, spread: float = 1.0) -> None:
        super().__init__()
        if latent_dim < 1 or num_components < 1:
            raise ValueError(f"latent_dim and num_components must be at least 1; got {latent_dim} and {num_components}")
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(spread * torch.randn(num_components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(num_components, latent_dim))

    def forward(self) -> dist.TorchDistribution:
        return NormalMixture(self.logits, self.loc, self.log_scale.exp())
