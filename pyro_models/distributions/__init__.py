"""Distributions that Pyro does not have."""

from pyro_models.distributions.autoregressive import AutoregressiveBernoulli
from pyro_models.distributions.pixels import DiscretizedLogistic, PixelCategorical
from pyro_models.distributions.quantization import Quantized, UniformCell

__all__ = ["AutoregressiveBernoulli", "DiscretizedLogistic", "PixelCategorical", "Quantized", "UniformCell"]
