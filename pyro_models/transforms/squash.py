"""A map from the real line to pixel intensities that stays away from the ends of the sigmoid."""

import math

import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from pyro_models.transforms.bijector import Bijector


class Squash(Bijector):
    r"""Map the real line onto slightly more than [0, 1], elementwise.

    .. math::
        y = \frac{\sigma(x) - \alpha}{1 - 2\alpha}, \qquad
        x = \operatorname{logit}(p), \quad p = \alpha + (1 - 2\alpha)\, y

    .. math::
        \log |y'(x)| = \log \sigma(x) + \log \sigma(-x) - \log(1 - 2\alpha), \qquad
        \log |x'(y)| = -\log p - \log(1 - p) + \log(1 - 2\alpha)

    The margin :math:`\alpha` keeps x finite for black and white pixels.  It lets a density put mass
    outside [0, 1]; a model of pixels counts that mass as lost, so its bits per dimension stay
    correct, and training moves the mass inside.

    Shapes: x, y and the log-determinant (nats) are all (\*).

    Args:
        alpha: the margin, in [0, 1/2).

    Raises:
        ValueError: if ``alpha`` is outside [0, 1/2).

    Source: Dinh, Sohl-Dickstein and Bengio (2017), section 4.1; in this symmetric form,
    Papamakarios, Pavlakou and Murray, "Masked autoregressive flow" (2017), appendix D.
    """

    domain = constraints.real
    sign = +1

    def __init__(self, alpha: float = 1e-6) -> None:
        super().__init__()
        if isinstance(alpha, bool) or not 0 <= alpha < 0.5:
            raise ValueError(f"alpha must be at least 0 and below 1/2; got {alpha}")
        self.alpha = alpha
        margin = alpha / (1 - 2 * alpha)
        self.codomain = constraints.interval(-margin, 1 + margin)

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = nn.functional.logsigmoid(x) + nn.functional.logsigmoid(-x) - math.log(1 - 2 * self.alpha)
        return (x.sigmoid() - self.alpha) / (1 - 2 * self.alpha), log_det

    def inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        # log p and log(1 - p) separately: near y = 1, computing 1 - p from p would lose digits
        log_p = torch.log(self.alpha + (1 - 2 * self.alpha) * y)
        log_q = torch.log(self.alpha + (1 - 2 * self.alpha) * (1 - y))
        return log_p - log_q, math.log(1 - 2 * self.alpha) - log_p - log_q
