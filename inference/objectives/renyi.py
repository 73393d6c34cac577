"""Rényi's bound, which includes the importance-weighted bound."""

import math
from collections.abc import Callable

from torch import Tensor

from inference.objectives.bound import ImageELBO, without_negligible


class RenyiELBO(ImageELBO):
    r"""The variational Rényi bound of each observation; alpha = 0 is the importance-weighted bound.

    .. math::
        L_\alpha(x) = \frac{1}{1 - \alpha} \log \frac1K \sum_{k=1}^K w_k^{1 - \alpha}, \qquad
        w_k = \frac{p(x, z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    At alpha = 1 it is the limit, the ELBO.  ``pyro.infer.RenyiELBO`` does not serve: it has no
    ``differentiable_loss``, and averages weights after scaling them, which is wrong under ``poutine.scale``.

    Args:
        alpha: order of the divergence.
        num_particles: draws of the latents for each observation, K.

    Raises:
        ValueError: if ``alpha`` is not finite or ``num_particles`` below 1.

    Source: Li and Turner, "Rényi divergence variational inference" (2016), equation 14; alpha = 0,
    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016).
    """

    def __init__(self, alpha: float = 0.0, num_particles: int = 5) -> None:
        super().__init__(num_particles)
        if not math.isfinite(alpha):
            raise ValueError(f"alpha must be a number; got {alpha}")
        self.alpha = alpha

    def bound(self, model: Callable, guide: Callable, *data: Tensor) -> Tensor:
        log_w = self.log_weights(model, guide, *data)
        if self.alpha == 1:
            return log_w.mean(0)
        power = 1 - self.alpha
        return (without_negligible(power * log_w).logsumexp(0) - math.log(self.num_particles)) / power
