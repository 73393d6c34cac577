"""Guides: Pyro programs q(latent | x), one for the latent site of each kind of model."""

from pyro_models.guides.flow_dequantizer import FlowDequantizer
from pyro_models.guides.mean_field import MeanFieldGuide
from pyro_models.guides.uniform_dequantizer import UniformDequantizer

__all__ = ["FlowDequantizer", "MeanFieldGuide", "UniformDequantizer"]
