"""A network's output as a standard deviation."""

from torch import Tensor, nn


def scale_of(raw: Tensor) -> Tensor:
    r"""sqrt(softplus(raw) + 1e-8): the variance grows linearly, and the floor keeps densities finite."""
    return (nn.functional.softplus(raw) + 1e-8).sqrt()
