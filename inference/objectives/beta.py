"""The ELBO with a weighted or annealed divergence, or free bits."""

import math
from collections.abc import Callable, Collection
from fractions import Fraction

import torch
from torch import Tensor

from inference.objectives.bound import ImageELBO
from inference.programs.terms import check_reparameterised, divergences_by_dimension, draw_traces, elbo_terms
from inference.system.processes import mean_of_processes

_MOST_STEPS = 2**26  # in a run: up to here, different fractions of the steps are different floats


class BetaELBO(ImageELBO):
    r"""The ELBO with its divergence multiplied by beta, which may rise during the run, and with free bits.

    .. math::
        L(x) = E_q[\log p(x \mid z)] - \beta(t) \sum_j \max\big(\lambda, KL_j\big), \qquad
        \beta(t) = \beta \min\Big(1, \frac{(t c) \bmod 1}{r}\Big)

    t, from 0 to 1, is the fraction of the run's steps already taken, c the number of cycles and r the
    fraction of a cycle in which the weight rises.  Steps count as whole numbers: where one cycle ends
    and the next begins the weight is exactly 0, despite rounding in t.  The training loop sets
    ``progress`` to t before each step.  KL_j is the divergence of one coordinate of a latent, averaged
    over the batch (over those of all processes that train together); if the two distributions do not
    factorise, it is the divergence of the whole latent.

    With a weight below 1 this is no bound on log p(x); with one above 1, or with free bits, it is a looser one than
    the ELBO.  The metrics of a run are always those of the ELBO itself.

    Args:
        beta: the final weight.
        warm_up: share of a cycle in which the weight rises, r; 0 for the full weight throughout.
        cycles: number of times the weight rises, c; 1 for a single rise (over the whole run if r = 1).
        free_bits: smallest divergence charged for each coordinate, lambda, in nats.

    Raises:
        ValueError: if a number is out of its range.

    Source: weight, Higgins et al., "beta-VAE" (2017), equation 4; annealing, Bowman et al. (2016),
    section 3.1, and in cycles Fu et al., "Cyclical annealing schedule" (2019), equation 6; free
    bits, Kingma et al., "Improving variational inference with IAF" (2016).
    """

    def __init__(self, beta: float = 1.0, warm_up: float = 0.0, cycles: int = 1, free_bits: float = 0.0) -> None:
        super().__init__(1)
        if not (beta >= 0 and math.isfinite(beta)) or not 0 <= warm_up <= 1 or not 0 <= free_bits < math.inf:
            raise ValueError(
                "beta and free_bits must be at least 0, warm_up from 0 to 1; got "
                f"beta {beta}, warm_up {warm_up} and free_bits {free_bits}"
            )
        if not isinstance(cycles, int) or cycles < 1:
            raise ValueError(f"cycles must be a whole number of at least 1; got {cycles}")
        self.beta = beta
        self.warm_up = warm_up
        self.cycles = cycles
        self.free_bits = free_bits
        self.progress = 1.0  # t, set by the training loop before each step

    def weight(self, progress: float) -> float:
        """beta(t), with t rounded to the nearest fraction of whole steps."""
        t = Fraction(float(progress)).limit_denominator(_MOST_STEPS)
        if not self.warm_up or t >= 1:
            return self.beta
        return self.beta * min(1.0, float(t * self.cycles % 1) / self.warm_up)

    def annealed(self) -> float | Tensor:
        """The weight of the current step; a compiled step reads it every time."""
        return self.weight(self.progress)

    def bound(self, model: Callable, guide: Callable, *data: Tensor) -> Tensor:
        traces = draw_traces(model, guide, *data)
        check_reparameterised(traces[1])
        terms = elbo_terms(*traces)
        parts = divergences_by_dimension(*traces).values() if self.free_bits else ()
        charged = self._with_free_bits(parts) if parts else terms.kl
        return -terms.reconstruction - self.annealed() * charged

    def _with_free_bits(self, parts: Collection[Tensor]) -> Tensor:
        """The divergence with free bits, a mean over the batch."""
        means = torch.cat([part.mean(0) for part in parts])
        # a loss without a gradient may be computed by one process alone, so it must not wait for others
        of_all = mean_of_processes(means) if means.requires_grad else means
        # the mean over processes of this is max(lambda, mean over processes of means), and so are gradients
        return torch.where(of_all <= self.free_bits, self.free_bits, means).sum()
