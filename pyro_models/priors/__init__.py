"""Priors over codes: modules of a ``latent_dim`` whose ``forward()`` returns a distribution."""

from pyro_models.priors.gaussian_mixture import GaussianMixture
from pyro_models.priors.standard_normal import StandardNormal

__all__ = ["GaussianMixture", "StandardNormal"]
