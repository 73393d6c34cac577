"""The affine coupling layer of RealNVP."""

import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from pyro_models.transforms.bijector import Bijector


class AffineCoupling(Bijector):
    r"""Affine coupling: one half of a vector scales and shifts the other.

    With :math:`x = (x_a, x_b)`, two halves of equal size,

    .. math::
        y_a = x_a, \qquad y_b = e^{s(x_a)} \odot x_b + t(x_a)

    and, inversely, :math:`x_b = e^{-s(y_a)} \odot (y_b - t(y_a))`.  The Jacobian is triangular:

    .. math::
        \log |\det J_f(x)| = \sum_j s(x_a)_j, \qquad
        \log |\det J_{f^{-1}}(y)| = -\sum_j s(y_a)_j.

    Shapes: x and y are (\*, D) with D even; the log-determinant is (\*), in nats.

    Args:
        conditioner: a module from :math:`x_a`, (\*, D/2), to the pair (raw log scale, shift), each
            (\*, D/2): :class:`~pyro_models.networks.MLP` with ``out_features=(D/2, D/2)``, or
            :class:`~pyro_models.networks.Parallel` of two separate networks.
        bound: b in :math:`s = b \tanh(\mathrm{raw} / b)`, so that :math:`|s| < b` however far a
            training step goes; ``None`` takes the raw log scale as it is.

    Raises:
        ValueError: if D is odd, or ``bound`` is not positive.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    equations 4 to 8.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, conditioner: nn.Module, bound: float | None = 2.0) -> None:
        super().__init__()
        if bound is not None and not bound > 0:
            raise ValueError(f"bound must be positive, or None for no bound; got {bound}")
        self.conditioner = conditioner
        self.bound = bound

    def log_scale_and_shift(self, x_a: Tensor) -> tuple[Tensor, Tensor]:
        """s(x_a) and t(x_a), each of x_a's shape."""
        raw, shift = self.conditioner(x_a)
        log_scale = raw if self.bound is None else self.bound * torch.tanh(raw / self.bound)
        return log_scale, shift

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x_a, x_b = _halves(x)
        log_scale, shift = self.log_scale_and_shift(x_a)
        return torch.cat([x_a, x_b * log_scale.exp() + shift], dim=-1), log_scale.sum(-1)

    def inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        y_a, y_b = _halves(y)
        log_scale, shift = self.log_scale_and_shift(y_a)
        return torch.cat([y_a, (y_b - shift) * (-log_scale).exp()], dim=-1), -log_scale.sum(-1)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    if x.shape[-1] % 2:
        raise ValueError(f"a coupling needs two equal halves, but the last dimension is {x.shape[-1]}, which is odd")
    x_a, x_b = x.chunk(2, dim=-1)
    return x_a, x_b
