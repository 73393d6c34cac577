"""The amortised guide with full covariance."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_models.distributions import FullRankNormal
from pyro_models.guides.amortized import AmortizedGuide
from pyro_models.networks import scale_of


class FullRankGuide(AmortizedGuide):
    r"""q(z | x) = N(z; loc(x), L(x) L(x)^T), with L lower triangular and its diagonal positive.

    .. math::
        z = \mathrm{loc}(x) + L(x)\, \epsilon, \qquad
        \log q(z \mid x) = \log N(\epsilon; 0, I) - \sum_i \log L_{ii}(x)

    Site, shapes and arguments as for :class:`AmortizedGuide`.

    Source: Rezende, Mohamed and Wierstra, "Stochastic backpropagation" (2014), section 4.3.
    """

    def __init__(self, encoder: nn.Module, latent_dim: int, num_classes: int = 0) -> None:
        super().__init__(encoder, latent_dim, 2 * latent_dim + latent_dim * (latent_dim - 1) // 2, num_classes)

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> dist.TorchDistribution:
        size = self.latent_dim
        loc, raw, below = self.numbers(self.features(x, labels)).split(
            [size, size, self.head.out_features - 2 * size], -1
        )
        row, column = torch.tril_indices(size, size, offset=-1, device=x.device)
        lower = torch.diag_embed(scale_of(raw))
        lower[..., row, column] = below
        return FullRankNormal(loc, scale_tril=lower)
