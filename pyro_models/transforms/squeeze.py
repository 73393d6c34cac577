"""Trading space for channels."""

import torch
from pyro.distributions import constraints
from torch import Tensor

from pyro_models.transforms.bijector import Bijector


class Squeeze(Bijector):
    r"""Turn each 2 x 2 block of pixels into four channels: (C, H, W) to (4 C, H/2, W/2).

    .. math:: y_{4c + 2i + j,\, h,\, w} = x_{c,\, 2h + i,\, 2w + j}, \qquad i, j \in \{0, 1\}

    A permutation, so :math:`\log |\det J| = 0`.

    Shapes: x is (\*, C, H, W) with H and W even, y is (\*, 4 C, H/2, W/2), log-determinants (\*).

    Raises:
        ValueError: if a side is odd, or, for the inverse, the number of channels is not a multiple of four.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017), section 3.6.

    Example:
        >>> import torch
        >>> from pyro_models import Squeeze
        >>> Squeeze()(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 4, 4, 4])
    """

    domain = constraints.independent(constraints.real, 3)
    codomain = constraints.independent(constraints.real, 3)
    volume_preserving = True

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.forward_shape(x.shape)
        y = x.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))  # (*, C, H/2, 2, W/2, 2)
        y = y.movedim((-3, -1), (-4, -3))  # (*, C, 2, 2, H/2, W/2)
        return y.flatten(-5, -3), x.new_zeros(x.shape[:-3])

    def inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        self.inverse_shape(y.shape)
        x = y.unflatten(-3, (-1, 2, 2)).movedim((-4, -3), (-3, -1))
        return x.flatten(-2).flatten(-3, -2), y.new_zeros(y.shape[:-3])

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        *batch, channels, height, width = shape
        if height % 2 or width % 2:
            raise ValueError(f"squeezing needs even sides, but images are {height} x {width}: crop or pad them")
        return torch.Size([*batch, 4 * channels, height // 2, width // 2])

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        *batch, channels, height, width = shape
        if channels % 4:
            raise ValueError(f"unsqueezing needs a multiple of four channels; got {channels}")
        return torch.Size([*batch, channels // 4, 2 * height, 2 * width])
