"""Variational dequantisation: a learned guide from pixels to intensities."""

import math
from collections.abc import Sequence
from typing import cast

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.distributions.transforms import AffineTransform, ReshapeTransform

from pyro_models.distributions import UniformCell
from pyro_models.flows import FlowDistribution
from pyro_models.networks import ResNet, ScaleAndShift, WithContext
from pyro_models.sizes import check_at_least, checked_levels, checked_shape
from pyro_models.transforms import MaskedCoupling, Squash, checkerboard


class FlowDequantizer(PyroModule):
    r"""q(y | x): y = (x + u) / levels, with u from a flow on the unit cube conditioned on the image.

    .. math::
        u = \sigma(f(\epsilon;\ h(x))), \qquad
        \log q(y \mid x) = \log q(u \mid x) + D \log \mathrm{levels}

    Noise that fits the neighbouring pixels costs fewer bits than uniform noise.  The flow consists of
    a few checkerboard couplings whose networks see features h(x) of the image; it starts close to
    uniform noise.

    Site ``y``, inside the plate ``data``.

    Shapes: x, whole numbers from 0 to levels - 1, and y are (B, C, H, W); labels are ignored.

    Args:
        image_shape: (C, H, W).
        levels: number of grey levels of a pixel.
        couplings: number of checkerboard couplings.
        channels: number of channels of the networks' hidden layers and of the features.
        blocks: number of residual blocks in each network.

    Raises:
        ValueError: if ``levels`` is below 2 or another number below 1.

    Source: Ho, Chen, Srinivas, Duan and Abbeel, "Flow++" (2019), section 3.1; Hoogeboom, Cohen and
    Tomczak, "Learning discrete distributions by dequantization" (2020), section 3.
    """

    base_loc: Tensor
    base_scale: Tensor

    def __init__(
        self,
        image_shape: Sequence[int],
        levels: int,
        couplings: int = 4,
        channels: int = 32,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        check_at_least(1, couplings=couplings)
        count, height, width = checked_shape(image_shape)
        self.levels = checked_levels(levels)
        self.image_shape = (count, height, width)
        self.features = ResNet(count, channels, channels, blocks)

        def conditioner() -> WithContext:
            network = ResNet(count + channels, 2 * count, channels, blocks, zero_init=True)
            return WithContext(ScaleAndShift(network, amplitude=1.0))

        self.couplings = nn.ModuleList(
            MaskedCoupling(checkerboard(self.image_shape, odd=bool(i % 2)), conditioner(), bound=None)
            for i in range(couplings)
        )
        size = math.prod(image_shape)
        # the normal closest to a logistic, whose sigmoid would be uniform
        self.register_buffer("base_loc", torch.zeros(size), persistent=False)
        self.register_buffer("base_scale", torch.full((size,), 1.702), persistent=False)

    def noise(self, x: Tensor) -> FlowDistribution:
        """q(u | x), a distribution over the unit cube with x's batch shape."""
        context = self.features(2 * x / (self.levels - 1) - 1)
        base = dist.Normal(self.base_loc, self.base_scale).to_event(1).expand(x.shape[:-3])
        reshape = ReshapeTransform(self.base_loc.shape, torch.Size(self.image_shape))
        couplings = [cast(MaskedCoupling, coupling).condition(context) for coupling in self.couplings]
        return FlowDistribution(base, [reshape, *couplings, Squash(0.0)])

    def forward(self, x: Tensor, labels: Tensor | None = None, *, batch: int = 1) -> None:
        cell = UniformCell(x, self.levels, 3)  # rejects anything but pixels
        with pyro.plate("data", len(x)):
            noise = self.noise(x)
            to_cell = AffineTransform(cell.x / self.levels, 1 / self.levels, event_dim=3)
            pyro.sample("y", FlowDistribution(noise.base_dist, [*noise.transforms, to_cell]))
