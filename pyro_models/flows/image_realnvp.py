"""RealNVP with convolutional couplings, at one scale below the image's and at several."""

import math
from collections.abc import Sequence

import torch
from torch.distributions import Transform
from torch.distributions.transforms import ReshapeTransform

from pyro_models.flows.flow import Flow
from pyro_models.networks import ResNet, ScaleAndShift
from pyro_models.transforms import (
    ActNorm,
    AffineCoupling,
    Bijector,
    ChannelPart,
    MaskedCoupling,
    Squash,
    Squeeze,
    checkerboard,
)

Shape = tuple[int, int, int]


def image_realnvp(
    image_shape: Shape,
    channels: int = 128,
    blocks: int = 4,
    outer: int = 4,
    squeezed: int = 3,
    inner: int = 3,
    alpha: float = 1e-6,
) -> Flow:
    r"""RealNVP over [0, 1]^(C x H x W), read here from the data to the base:

    ``outer`` checkerboard couplings of alternating masks; squeeze; ``squeezed`` channel-wise
    couplings of alternating halves; unsqueeze; ``inner`` checkerboard couplings; with an
    :class:`~pyro_models.transforms.ActNorm` between each two of a group.  The log scale of a
    coupling is a tanh(network) + c with learned scalars; see
    :class:`~pyro_models.networks.ScaleAndShift`.  All variables pass through all couplings: no part
    of them is factored out on the way (see :func:`multiscale_realnvp`), and ActNorm stands where the
    paper has batch normalisation.

    Shapes: the distribution's ``event_shape`` is ``image_shape``.

    Args:
        image_shape: (C, H, W), with H and W even.
        channels: of the hidden layers of each coupling's network.
        blocks: number of residual blocks in each network.
        outer: number of checkerboard couplings nearest to the data.
        squeezed: number of channel-wise couplings.
        inner: number of checkerboard couplings nearest to the base.
        alpha: margin of :class:`~pyro_models.transforms.Squash`.

    Raises:
        ValueError: if a side is odd or a number below 1.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    section 3.4, and 4.1 for the networks; ActNorm from Kingma and Dhariwal, "Glow" (2018).
    """
    _check(image_shape, outer, squeezed, inner, halvings=1)
    squeeze = Squeeze()
    small = _squeezed(image_shape)
    to_base: list[Transform] = [
        *_checkerboards(image_shape, outer, channels, blocks),
        squeeze.inv,
        *_channelwise(small, squeezed, channels, blocks),
        squeeze,
        *_checkerboards(image_shape, inner, channels, blocks),
    ]
    return _flow(to_base, image_shape, alpha)


def multiscale_realnvp(
    image_shape: Shape,
    scales: int = 2,
    channels: int = 64,
    blocks: int = 8,
    couplings: int = 3,
    last: int = 4,
    alpha: float = 1e-6,
) -> Flow:
    r"""Multi-scale RealNVP: at each scale but the last, half of the variables go to the base.

    Read from the data to the base, a scale is ``couplings`` checkerboard couplings, squeeze,
    ``couplings`` channel-wise couplings, then the next scale on the first half of the channels;
    the last scale is ``last`` checkerboard couplings.  ActNorms stand between couplings.

    Shapes: the distribution's ``event_shape`` is ``image_shape``.

    Args:
        image_shape: (C, H, W), with H and W multiples of 2^(scales - 1).
        scales: number of scales.
        channels: of the hidden layers of the networks at the first scale; doubled at each further one.
        blocks: number of residual blocks in each network.
        couplings: number of couplings in each group.
        last: number of couplings at the last scale.
        alpha: margin of :class:`~pyro_models.transforms.Squash`.

    Raises:
        ValueError: if a side cannot be halved often enough or a number is below 1.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    sections 3.6 and 4.1.
    """
    _check(image_shape, scales, couplings, last, halvings=scales - 1)

    def scale(shape: Shape, number: int, width: int) -> list[Transform]:
        if number == scales:
            return _checkerboards(shape, last, width, blocks)
        small = _squeezed(shape)
        kept = (small[0] // 2, *small[1:])
        squeeze = Squeeze()
        deeper = ChannelPart(scale(kept, number + 1, 2 * width)[::-1], channels=kept[0])
        return [
            *_checkerboards(shape, couplings, width, blocks),
            squeeze.inv,
            *_channelwise(small, couplings, 2 * width, blocks),
            deeper,
            squeeze,
        ]

    return _flow(scale(image_shape, 1, channels), image_shape, alpha)


def _checkerboards(shape: Shape, number: int, channels: int, blocks: int) -> list[Transform]:
    def coupling(i: int) -> Bijector:
        network = ScaleAndShift(ResNet(shape[0], 2 * shape[0], channels, blocks))
        return MaskedCoupling(checkerboard(shape, odd=bool(i % 2)), network, bound=None)

    return _with_norms([coupling(i) for i in range(number)], shape[0])


def _channelwise(shape: Shape, number: int, channels: int, blocks: int) -> list[Transform]:
    def coupling(i: int) -> Bijector:
        network = ScaleAndShift(ResNet(shape[0] // 2, shape[0], channels, blocks))
        return AffineCoupling(network, bound=None, dim=-3, swap=bool(i % 2))

    return _with_norms([coupling(i) for i in range(number)], shape[0])


def _with_norms(couplings: Sequence[Bijector], channels: int) -> list[Transform]:
    """The couplings with an ActNorm between each two."""
    mixed: list[Transform] = [part for coupling in couplings for part in (coupling, ActNorm(channels))]
    return mixed[:-1]


def _squeezed(shape: Shape) -> Shape:
    channels, height, width = Squeeze().forward_shape(torch.Size(shape))
    return channels, height, width


def _flow(to_base: list[Transform], image_shape: Shape, alpha: float) -> Flow:
    """The flow of transforms listed from the data to the base, each of them the way from base to data."""
    size = math.prod(image_shape)
    reshape = ReshapeTransform(torch.Size([size]), torch.Size(image_shape))
    return Flow([reshape, *reversed(to_base), Squash(alpha)], size)


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
