"""Reversal of a vector."""

from pyro.distributions import constraints
from torch import Tensor

from pyro_models.transforms.bijector import Bijector


class Flip(Bijector):
    r"""Reverse the last dimension: :math:`y_i = x_{D+1-i}`, its own inverse.

    A permutation, so :math:`\log |\det J| = 0`.  After a coupling it exchanges the two halves, so
    that the next coupling transforms what the last one left unchanged.  Unlike Pyro's ``Permute`` it
    holds no index tensor, so it works on any device and for any D.

    Shapes: x and y are (\*, D); the log-determinant is (\*).

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    section 3.5.

    Example:
        >>> import torch
        >>> from pyro_models import Flip
        >>> Flip()(torch.tensor([1.0, 2.0, 3.0]))
        tensor([3., 2., 1.])
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    volume_preserving = True

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(-1), x.new_zeros(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_and_log_det(y)
