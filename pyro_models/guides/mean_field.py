"""The amortised mean-field guide."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyro_models.guides.amortized import AmortizedGuide
from pyro_models.networks import scale_of


class MeanFieldGuide(AmortizedGuide):
    r"""q(z | x) = N(z; loc(x), diag scale(x)^2).

    .. math:: z = \mathrm{loc}(x) + \mathrm{scale}(x) \odot \epsilon, \qquad \epsilon \sim N(0, I)

    Site, shapes and arguments as for :class:`AmortizedGuide`.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), equation 9.

    Example:
        >>> import torch
        >>> from pyro_models import MeanFieldGuide, MLPEncoder
        >>> guide = MeanFieldGuide(MLPEncoder((1, 8, 8)), latent_dim=2)
        >>> x = torch.zeros(5, 1, 8, 8)
        >>> guide.posterior(x).mean.shape
        torch.Size([5, 2])
    """

    def __init__(self, encoder: nn.Module, latent_dim: int, num_classes: int = 0) -> None:
        super().__init__(encoder, latent_dim, 2 * latent_dim, num_classes)

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> dist.TorchDistribution:
        return self.posterior_of(self.features(x, labels))

    def posterior_of(self, features: Tensor) -> dist.TorchDistribution:
        """q(z | x) from the encoder's features of x."""
        loc, raw = self.numbers(features).chunk(2, dim=-1)
        return dist.Normal(loc, scale_of(raw)).to_event(1)
