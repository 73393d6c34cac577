"""Priors over codes: modules whose ``forward()`` returns a distribution over vectors of size ``latent_dim``."""

from pyro_models.priors.class_normal import ClassNormal
from pyro_models.priors.flow_prior import FlowPrior, ZukoPrior
from pyro_models.priors.gaussian_mixture import GaussianMixture
from pyro_models.priors.standard_normal import StandardNormal
from pyro_models.priors.vamp_prior import VampPrior

__all__ = ["ClassNormal", "FlowPrior", "GaussianMixture", "StandardNormal", "VampPrior", "ZukoPrior"]
