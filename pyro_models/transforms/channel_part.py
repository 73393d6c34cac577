"""Transforms of some of the channels."""

from collections.abc import Sequence

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Transform

from pyro_models.sizes import check_at_least
from pyro_models.transforms.bijector import Bijector, condition, forward_and_log_det, inverse_and_log_det, modules_of


class ChannelPart(Bijector):
    r"""Apply a chain of transforms to the first channels and leave the others unchanged.

    .. math::
        y = (f_n(\ldots f_1(x_{1..k})),\ x_{k+1..C}), \qquad
        \log |\det J| = \sum_i \log |\det J_{f_i}|

    From data to base, the other channels go straight to the base.  This is how a multi-scale flow
    factors out variables and is still one transform of one base.

    Shapes: x and y are (\*, C, H, W), log-determinants (\*); the chain keeps the shape of its input.

    Args:
        transforms: from the base to the data, of events (k, H, W); modules among them are registered.
        channels: the number k that are transformed.

    Raises:
        ValueError: if no channel is left unchanged.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    section 3.6, equations 14 to 16.
    """

    domain = constraints.independent(constraints.real, 3)
    codomain = constraints.independent(constraints.real, 3)

    def __init__(self, transforms: Sequence[Transform], channels: int) -> None:
        super().__init__()
        check_at_least(1, channels=channels)
        self.transforms = list(transforms)
        self.registered = modules_of(transforms)
        self.channels = channels

    def condition(self, context: Tensor) -> "ChannelPart":
        """The same with each transform of the chain conditioned on the context."""
        return ChannelPart([condition(transform, context) for transform in self.transforms], self.channels)

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        part, rest = self._split(x)
        log_det = x.new_zeros(x.shape[:-3])
        for transform in self.transforms:
            part, step = forward_and_log_det(transform, part)
            log_det = log_det + step
        return torch.cat([part, rest], dim=-3), log_det

    def inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        part, rest = self._split(y)
        log_det = y.new_zeros(y.shape[:-3])
        for transform in reversed(self.transforms):
            part, step = inverse_and_log_det(transform, part)
            log_det = log_det + step
        return torch.cat([part, rest], dim=-3), log_det

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.shape[-3]
        if not self.channels < total:
            raise ValueError(f"a part of {self.channels} channels must leave some of {total}")
        part, rest = x.split([self.channels, total - self.channels], dim=-3)
        return part, rest
