"""Invertible maps with tractable log-determinants, as Pyro ``TransformModule`` objects."""

from pyro_models.transforms.bijector import Bijector
from pyro_models.transforms.coupling import AffineCoupling
from pyro_models.transforms.flip import Flip
from pyro_models.transforms.squash import Squash

__all__ = ["AffineCoupling", "Bijector", "Flip", "Squash"]
