"""Guides: Pyro programs q(latent | x), one for the latent site of each kind of model."""

from pyro_models.guides.mean_field import MeanFieldGuide
from pyro_models.guides.uniform_dequantizer import UniformDequantizer

__all__ = ["MeanFieldGuide", "UniformDequantizer"]
