"""RealNVP with convolutional couplings."""

import math

import torch
from torch.distributions import Transform
from torch.distributions.transforms import ReshapeTransform

from pyro_models.flows.flow import Flow
from pyro_models.networks import ResNet, ScaleAndShift
from pyro_models.transforms import ActNorm, AffineCoupling, MaskedCoupling, Squash, Squeeze, checkerboard


def image_realnvp(
    image_shape: tuple[int, int, int],
    channels: int = 128,
    blocks: int = 4,
    outer: int = 4,
    squeezed: int = 3,
    inner: int = 3,
    alpha: float = 0.05,
) -> Flow:
    r"""RealNVP over [0, 1]^(C x H x W), read here from the data to the base:

    ``outer`` checkerboard couplings of alternating masks; squeeze; ``squeezed`` channel-wise
    couplings of alternating halves; unsqueeze; ``inner`` checkerboard couplings; with an
    :class:`~pyro_models.transforms.ActNorm` between each two of a group.  The log scale of a
    coupling is a tanh(network) + c with learned scalars; see
    :class:`~pyro_models.networks.ScaleAndShift`.

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
    sections 3.4, 3.6 and 4.1; ActNorm from Kingma and Dhariwal, "Glow" (2018).
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape must be (C, H, W); got {tuple(image_shape)}")
    if min(outer, squeezed, inner) < 1:
        raise ValueError(f"each group needs at least 1 coupling; got {outer}, {squeezed} and {inner}")
    count, height, width = image_shape
    squeeze = Squeeze()
    squeeze.forward_shape(torch.Size(image_shape))  # refuses odd sides

    def checkerboards(number: int) -> list[Transform]:
        def coupling(i: int) -> Transform:
            network = ResNet(count, 2 * count, channels, blocks)
            return MaskedCoupling(checkerboard((count, height, width), odd=bool(i % 2)), ScaleAndShift(network), None)

        return _with_norms([coupling(i) for i in range(number)], count)

    def channelwise(number: int) -> list[Transform]:
        def coupling(i: int) -> Transform:
            network = ResNet(2 * count, 4 * count, channels, blocks)
            return AffineCoupling(ScaleAndShift(network), bound=None, dim=-3, swap=bool(i % 2))

        return _with_norms([coupling(i) for i in range(number)], 4 * count)

    size = math.prod(image_shape)
    reshape = ReshapeTransform(torch.Size([size]), torch.Size(image_shape))
    from_base = [
        *reversed(checkerboards(inner)),
        squeeze,
        *reversed(channelwise(squeezed)),
        squeeze.inv,
        *reversed(checkerboards(outer)),
    ]
    return Flow([reshape, *from_base, Squash(alpha)], size)


def _with_norms(couplings: list[Transform], channels: int) -> list[Transform]:
    """The couplings with an ActNorm between each two."""
    mixed = [part for coupling in couplings for part in (coupling, ActNorm(channels))]
    return mixed[:-1]
