"""Invertible maps with tractable log-determinants, as Pyro ``TransformModule`` objects."""

from pyro_models.transforms.actnorm import ActNorm
from pyro_models.transforms.bijector import Bijector
from pyro_models.transforms.channel_part import ChannelPart
from pyro_models.transforms.coupling import AffineCoupling, MaskedCoupling, alternating, checkerboard
from pyro_models.transforms.flip import Flip
from pyro_models.transforms.mixture_coupling import LogisticMixtureCoupling
from pyro_models.transforms.squash import Squash
from pyro_models.transforms.squeeze import Squeeze

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "Bijector",
    "ChannelPart",
    "Flip",
    "LogisticMixtureCoupling",
    "MaskedCoupling",
    "Squash",
    "Squeeze",
    "alternating",
    "checkerboard",
]
