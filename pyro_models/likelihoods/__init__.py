"""Likelihoods: modules that map a decoder's output to a distribution over images or vectors."""

from pyro_models.likelihoods.autoregressive import AutoregressivePixels
from pyro_models.likelihoods.gaussian import GaussianVectors
from pyro_models.likelihoods.pixel_cnn import PixelCNNPixels
from pyro_models.likelihoods.pixels import BernoulliPixels, CategoricalPixels, LogisticPixels

__all__ = [
    "AutoregressivePixels",
    "BernoulliPixels",
    "CategoricalPixels",
    "GaussianVectors",
    "LogisticPixels",
    "PixelCNNPixels",
]
