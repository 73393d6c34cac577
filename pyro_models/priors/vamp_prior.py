"""The variational mixture of posteriors."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_models.distributions import mixture
from pyro_models.sizes import check_at_least, checked_data_shape


@runtime_checkable
class HasPosterior(Protocol):
    def posterior(self, x: Tensor) -> dist.TorchDistribution: ...


class VampPrior(nn.Module):
    r"""p(z): a mixture of the guide's posteriors at learned pseudo-inputs.

    .. math::
        p(z) = \sum_k w_k\, q(z \mid u_k), \qquad u = (\mathrm{levels} - 1)\, \sigma(a), \quad w = \mathrm{softmax}(b)

    For data without levels the pseudo-inputs are any real numbers: u = a.  Gradients also reach the
    guide's weights.

    Shapes: ``forward()`` returns a distribution with the guide's ``event_shape``.

    Args:
        guide: its ``posterior(x)`` is q(z | x), as in an :class:`~pyro_models.guides.AmortizedGuide`.
        image_shape: (C, H, W), or (D,) for vectors.
        num_components: number of pseudo-inputs.
        levels: number of values of a pixel; ``None`` for real numbers.

    Raises:
        ValueError: if a number is out of its range.
        TypeError: if the guide has no ``posterior``.

    Source: Tomczak and Welling, "VAE with a VampPrior" (2018); weights as in their code.

    Example:
        >>> from pyro_models import MeanFieldGuide, MLPEncoder, VampPrior
        >>> guide = MeanFieldGuide(MLPEncoder((1, 8, 8)), latent_dim=2)
        >>> VampPrior(guide, (1, 8, 8), num_components=10)().sample([5]).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, guide: HasPosterior, image_shape: Sequence[int], num_components: int = 50, levels: int | None = 2
    ) -> None:
        super().__init__()
        check_at_least(1, num_components=num_components)
        check_at_least(2, levels=levels)
        self._guide = (guide,)  # in a tuple, so that its weights are not registered as the prior's
        self.levels = levels
        start = torch.randn(num_components, *checked_data_shape(image_shape))
        self.pseudo = nn.Parameter(start if levels is None else start - 1)  # images are dark for the most part
        self.logits = nn.Parameter(torch.zeros(num_components))

    def forward(self) -> dist.TorchDistribution:
        u = self.pseudo if self.levels is None else (self.levels - 1) * self.pseudo.sigmoid()
        return mixture(self.logits, self._guide[0].posterior(u))
