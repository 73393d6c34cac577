"""Distributions that Pyro does not have."""

from pyro_models.distributions.bernoulli import AutoregressiveBernoulli, BernoulliImage
from pyro_models.distributions.full_rank import FullRankNormal
from pyro_models.distributions.mixture import NormalMixture, mixture
from pyro_models.distributions.pixels import DiscretizedLogistic, PixelCategorical
from pyro_models.distributions.quantization import Quantized, UniformCell

__all__ = [
    "AutoregressiveBernoulli",
    "BernoulliImage",
    "DiscretizedLogistic",
    "FullRankNormal",
    "NormalMixture",
    "PixelCategorical",
    "Quantized",
    "UniformCell",
    "mixture",
]
