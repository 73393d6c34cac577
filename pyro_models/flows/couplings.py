"""The couplings of a flow, affine or with mixtures of logistic distributions."""

from torch import Tensor, nn
from torch.distributions import Transform

from pyro_models.transforms import AffineCoupling, LogisticMixtureCoupling, MaskedCoupling


def sizes_of_heads(size: int, components: int) -> tuple[int, ...]:
    """How many numbers a coupling takes of each kind to transform so many coordinates."""
    return (size,) * 2 + (components * size,) * (3 if components else 0)


def coupling_of_halves(
    conditioner: nn.Module, components: int, bound: float | None = 2.0, dim: int = -1, swap: bool = False
) -> Transform:
    """An affine coupling, or with components the inverse of a mixture's, which is fast from the data to the base."""
    if components:
        return LogisticMixtureCoupling(conditioner, components, bound, dim, swap).inv
    return AffineCoupling(conditioner, bound, dim, swap)


def coupling_under_mask(mask: Tensor, conditioner: nn.Module, components: int, bound: float | None = 2.0) -> Transform:
    """As :func:`coupling_of_halves`, with a mask."""
    if components:
        return LogisticMixtureCoupling(conditioner, components, bound, mask=mask).inv
    return MaskedCoupling(mask, conditioner, bound)
