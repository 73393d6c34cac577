"""Mixtures of logistic distributions as monotone maps of the real line."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

_BISECTIONS, _NEWTON_STEPS = 30, 3


class LogisticMixture(NamedTuple):
    r"""The distribution function F of a mixture of logistic distributions, and its map to log odds.

    .. math::
        F(x) = \sum_k w_k\, \sigma(u_k), \quad u_k = e^{-s_k} (x - m_k), \qquad
        g(x) = \log \frac{F(x)}{1 - F(x)}, \qquad
        g'(x) = \frac{\sum_k w_k e^{-s_k} \sigma(u_k) \sigma(-u_k)}{F(x)\, (1 - F(x))}

    All sums are of logarithms, and large ones cancel before they are summed, so that both tails are exact.

    Shapes: the parameters are (\*, K, D), with log w, m and s; x is (\*, D).
    """

    log_weight: Tensor
    loc: Tensor
    log_scale: Tensor

    def log_odds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """g(x) and log g'(x)."""
        u = (x[..., None, :] - self.loc) * (-self.log_scale).exp()
        below, above = self.log_weight + logsigmoid(u), self.log_weight + logsigmoid(-u)
        log_cdf, log_rest = below.logsumexp(-2), above.logsumexp(-2)
        shares = (below - log_cdf[..., None, :]) + (above - log_rest[..., None, :])  # before they are summed: far out
        log_slope = (shares - self.log_weight - self.log_scale).logsumexp(-2)  # all are large, their differences small
        return log_cdf - log_rest, log_slope

    def quantile(self, odds: Tensor) -> Tensor:
        r"""The x with :math:`g(x) = \mathrm{odds}`, by bisection and a few steps of Newton's method.

        It lies between the smallest and the largest such x of the components.  Its gradient is the implicit one,

        .. math:: dx = \frac{d\,\mathrm{odds} - \sum_\theta \partial_\theta g(x)\, d\theta}{g'(x)}

        which is right for first derivatives only.
        """
        x = self._solved(odds)
        if not torch.is_grad_enabled():
            return x
        found, log_slope = self.log_odds(x)
        return x + (odds - found) * (-log_slope.detach()).exp()

    @torch.no_grad()
    def _solved(self, odds: Tensor) -> Tensor:
        of_components = self.loc + self.log_scale.exp() * odds[..., None, :]
        low, high = of_components.amin(-2), of_components.amax(-2)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            is_low = self.log_odds(middle)[0] < odds
            low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
        x = (low + high) / 2
        for _ in range(_NEWTON_STEPS):
            found, log_slope = self.log_odds(x)
            step = (odds - found) * (-log_slope).exp()
            x = torch.where(step.isfinite(), torch.clamp(x + step, low, high), x)
        return x
