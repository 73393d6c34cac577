"""RealNVP with convolutional couplings: with one squeeze, and multi-scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributions import Transform
from torch.distributions.transforms import ReshapeTransform

from pyro_models.flows.couplings import coupling_of_halves, coupling_under_mask, sizes_of_heads
from pyro_models.flows.flow import Flow
from pyro_models.networks import ResNet, ScaleAndShift, ScaleShiftAndMixture, WithContext
from pyro_models.sizes import check_at_least
from pyro_models.transforms import (
    ActNorm,
    ChannelPart,
    Squash,
    Squeeze,
    checkerboard,
)

Shape = Sequence[int]


def image_realnvp(
    image_shape: Shape,
    channels: int = 128,
    blocks: int = 4,
    outer: int = 4,
    squeezed: int = 3,
    inner: int = 3,
    alpha: float = 1e-6,
    context: int = 0,
    components: int = 0,
) -> Flow:
    r"""RealNVP over [0, 1]^(C x H x W), with checkerboard and channel-wise couplings.

    Read from the data to the base: ``outer`` checkerboard couplings with alternating masks; squeeze;
    ``squeezed`` channel-wise couplings of alternating halves; unsqueeze; ``inner`` checkerboard
    couplings; with an
    :class:`~pyro_models.transforms.ActNorm` between any two couplings of a group.  The log scale of
    a coupling is a tanh(network) + c with learned scalars; see
    :class:`~pyro_models.networks.ScaleAndShift`.  All variables pass through all couplings: none are
    factored out on the way (for that see :func:`multiscale_realnvp`), and ActNorm replaces the
    paper's batch normalisation.

    Shapes: the distribution's ``event_shape`` is ``image_shape``.

    Args:
        image_shape: (C, H, W), with H and W even.
        channels: number of channels in the hidden layers of each coupling's network.
        blocks: number of residual blocks in each network.
        outer: number of checkerboard couplings nearest to the data.
        squeezed: number of channel-wise couplings.
        inner: number of checkerboard couplings nearest to the base.
        alpha: margin of :class:`~pyro_models.transforms.Squash`.
        context: size of an additional input of the networks, such as the number of classes; 0 for none.
        components: number of logistic distributions in each coupling's mixture, see
            :class:`~pyro_models.transforms.LogisticMixtureCoupling`; 0 for affine couplings.

    Raises:
        ValueError: if a side is odd or a number below 1.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    section 3.4, and 4.1 for the networks; ActNorm from Kingma and Dhariwal, "Glow" (2018).

    Example:
        >>> import torch
        >>> from pyro_models import image_realnvp
        >>> flow = image_realnvp((1, 4, 4), channels=8, blocks=1, context=10)
        >>> labels = torch.tensor([3, 3, 7])
        >>> flow(torch.eye(10)[labels]).sample().shape
        torch.Size([3, 1, 4, 4])
    """
    check_at_least(0, components=components)
    _check(image_shape, outer, squeezed, inner, halvings=1)
    squeeze = Squeeze()
    networks = _Networks(channels, blocks, context, components)
    to_base: list[Transform] = [
        *_checkerboards(image_shape, outer, networks),
        squeeze.inv,
        *_channelwise(_squeezed(image_shape), squeezed, networks),
        squeeze,
        *_checkerboards(image_shape, inner, networks),
    ]
    return _flow(to_base, image_shape, alpha, context)


def multiscale_realnvp(
    image_shape: Shape,
    scales: int = 2,
    channels: int = 64,
    blocks: int = 8,
    couplings: int = 3,
    last: int = 4,
    alpha: float = 1e-6,
    context: int = 0,
    components: int = 0,
) -> Flow:
    r"""Multi-scale RealNVP: at each scale but the last, half of the variables go to the base.

    Read from the data to the base, a scale is ``couplings`` checkerboard couplings, squeeze,
    ``couplings`` channel-wise couplings, then the next scale on the first half of the channels;
    the last scale is ``last`` checkerboard couplings.  ActNorms stand between couplings.

    Shapes: the distribution's ``event_shape`` is ``image_shape``.

    Args:
        image_shape: (C, H, W), with H and W multiples of 2^(scales - 1).
        scales: number of scales.
        channels: number of channels in the networks' hidden layers at the first scale; doubled at each further one.
        blocks: number of residual blocks in each network.
        couplings: number of couplings in each group.
        last: number of couplings at the last scale.
        alpha: margin of :class:`~pyro_models.transforms.Squash`.
        context: size of an additional input of the networks, such as the number of classes; 0 for none.
        components: number of logistic distributions in each coupling's mixture, see
            :class:`~pyro_models.transforms.LogisticMixtureCoupling`; 0 for affine couplings.

    Raises:
        ValueError: if a side cannot be halved often enough or a number is below 1.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    sections 3.6 and 4.1.
    """
    check_at_least(0, components=components)
    _check(image_shape, scales, couplings, last, halvings=scales - 1)

    def networks(width: int) -> _Networks:
        return _Networks(width, blocks, context, components)

    def scale(shape: Shape, number: int, width: int) -> list[Transform]:
        if number == scales:
            return _checkerboards(shape, last, networks(width))
        small = _squeezed(shape)
        kept = (small[0] // 2, *small[1:])
        squeeze = Squeeze()
        deeper = ChannelPart(scale(kept, number + 1, 2 * width)[::-1], channels=kept[0])
        return [
            *_checkerboards(shape, couplings, networks(width)),
            squeeze.inv,
            *_channelwise(small, couplings, networks(2 * width)),
            deeper,
            squeeze,
        ]

    return _flow(scale(image_shape, 1, channels), image_shape, alpha, context)


@dataclass(frozen=True)
class _Networks:
    """Makes the networks of a group of couplings, all of the same width, depth, context and components."""

    channels: int
    blocks: int
    context: int
    components: int

    def __call__(self, seen: int, transformed: int) -> nn.Module:
        network = self._affine(seen, transformed) if not self.components else self._mixture(seen, transformed)
        return WithContext(network, everywhere=True) if self.context else network

    def _affine(self, seen: int, transformed: int) -> nn.Module:
        return ScaleAndShift(ResNet(seen + self.context, 2 * transformed, self.channels, self.blocks))

    def _mixture(self, seen: int, transformed: int) -> nn.Module:
        numbers = sum(sizes_of_heads(transformed, self.components))
        network = ResNet(seen + self.context, numbers, self.channels, self.blocks, zero_init=True)
        return ScaleShiftAndMixture(network, self.components, amplitude=1.0)


def _checkerboards(shape: Shape, number: int, networks: _Networks) -> list[Transform]:
    def coupling(i: int) -> Transform:
        mask = checkerboard(shape, odd=bool(i % 2))
        return coupling_under_mask(mask, networks(shape[0], shape[0]), networks.components, bound=None)

    return _with_norms([coupling(i) for i in range(number)], shape[0])


def _channelwise(shape: Shape, number: int, networks: _Networks) -> list[Transform]:
    half = shape[0] // 2

    def coupling(i: int) -> Transform:
        return coupling_of_halves(networks(half, half), networks.components, None, dim=-3, swap=bool(i % 2))

    return _with_norms([coupling(i) for i in range(number)], shape[0])


def _with_norms(couplings: Sequence[Transform], channels: int) -> list[Transform]:
    """The couplings with an ActNorm between neighbours."""
    mixed: list[Transform] = [part for coupling in couplings for part in (coupling, ActNorm(channels))]
    return mixed[:-1]


def _squeezed(shape: Shape) -> Shape:
    channels, height, width = Squeeze().forward_shape(torch.Size(shape))
    return channels, height, width


def _flow(to_base: list[Transform], image_shape: Shape, alpha: float, context: int) -> Flow:
    """The flow of these transforms, listed from data to base although each one maps from base to data."""
    size = math.prod(image_shape)
    reshape = ReshapeTransform(torch.Size([size]), torch.Size(image_shape))
    return Flow([reshape, *reversed(to_base), Squash(alpha)], size, context)


def _check(image_shape: Sequence[int], *numbers: int, halvings: int) -> None:
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape must be (C, H, W); got {tuple(image_shape)}")
    if min(numbers) < 1:
        raise ValueError(f"numbers of couplings and scales must be at least 1; got {', '.join(map(str, numbers))}")
    height, width = image_shape[1:]
    if height % 2**halvings or width % 2**halvings:
        raise ValueError(
            f"images of {height} x {width} pixels cannot be halved {halvings} times: the sides must be "
            f"multiples of {2**halvings}; crop or pad the images, or take fewer scales"
        )
