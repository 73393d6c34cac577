"""Likelihoods: modules from a decoder's output to the distribution of an image."""

from pyro_models.likelihoods.autoregressive import AutoregressivePixels
from pyro_models.likelihoods.pixels import BernoulliPixels, CategoricalPixels, LogisticPixels

__all__ = ["AutoregressivePixels", "BernoulliPixels", "CategoricalPixels", "LogisticPixels"]
