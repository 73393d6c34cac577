"""Distributions that Pyro does not have."""

from pyro_models.distributions.quantization import Quantized, UniformCell

__all__ = ["Quantized", "UniformCell"]
