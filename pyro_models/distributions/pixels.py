"""Distributions of a single integer pixel."""

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

Shape = torch.Size | list[int] | tuple[int, ...]


class PixelCategorical(dist.Categorical):
    """A categorical distribution over grey levels that knows its mean."""

    @property
    def mean(self) -> Tensor:
        return self.probs @ torch.arange(self.probs.shape[-1]).to(self.probs)


class DiscretizedLogistic(dist.TorchDistribution):
    r"""A whole number from 0 to levels - 1: the cell that a logistic variable falls into.

    .. math::
        P(x) = \sigma\Big(\frac{(x + 1) / \mathrm{levels} - \mathrm{loc}}{\mathrm{scale}}\Big)
             - \sigma\Big(\frac{x / \mathrm{levels} - \mathrm{loc}}{\mathrm{scale}}\Big)

    where the first and the last cell reach to infinity, so that the probabilities sum to one.

    Shapes: loc, scale and x are (\*).

    Args:
        loc: location, as a fraction of the full intensity.
        scale: of the logistic distribution, in the same units.
        levels: number of levels.

    Source: Salimans, Karpathy, Chen and Kingma, "PixelCNN++" (2017), equation 2.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(self, loc: Tensor, scale: Tensor, levels: int, validate_args: bool | None = None) -> None:
        try:
            self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        except RuntimeError as error:
            raise ValueError(f"loc and scale do not fit together: {error}") from error
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.levels - 1)

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: None = None
    ) -> "DiscretizedLogistic":
        batch_shape = torch.Size(batch_shape)
        loc, scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        return DiscretizedLogistic(loc, scale, self.levels, validate_args=self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        upper = ((value + 1) / self.levels - self.loc) / self.scale
        lower = (value / self.levels - self.loc) / self.scale
        # log(sigma(u) - sigma(l)) = log sigma(u) + log sigma(-l) + log(1 - exp(l - u)), stable in both tails
        width = 1 / (self.levels * self.scale)
        inner = logsigmoid(upper) - softplus(lower) + torch.log(-torch.expm1(-width))
        first, last = value < 0.5, value > self.levels - 1.5
        return torch.where(first, logsigmoid(upper), torch.where(last, -softplus(lower), inner))

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            tiny = torch.finfo(self.loc.dtype).tiny
            u = torch.rand(shape, dtype=self.loc.dtype).to(self.loc.device).clamp(min=tiny, max=1 - 1e-7)
            y = self.loc + self.scale * u.logit()
            return (y * self.levels).floor().clamp(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        r"""E[x], as :math:`\sum_{k \ge 1} P(x \ge k)`."""
        at_least = (((self.loc - k / self.levels) / self.scale).sigmoid() for k in range(1, self.levels))
        return sum(at_least, start=torch.zeros_like(self.loc))
