"""Deep generative models as pairs of Pyro programs: a model and its guide."""

from pyro_models.flows import Flow, FlowDistribution, flip_realnvp
from pyro_models.guides import MeanFieldGuide, UniformDequantizer
from pyro_models.interpolation import great_circle, straight
from pyro_models.models import VAE, FlowModel
from pyro_models.networks import MLP, MLPDecoder, MLPEncoder, Parallel
from pyro_models.priors import GaussianMixture, StandardNormal
from pyro_models.transforms import AffineCoupling, Bijector, Flip, Squash

__all__ = [
    "MLP",
    "VAE",
    "AffineCoupling",
    "Bijector",
    "Flip",
    "Flow",
    "FlowDistribution",
    "FlowModel",
    "GaussianMixture",
    "MLPDecoder",
    "MLPEncoder",
    "MeanFieldGuide",
    "Parallel",
    "Squash",
    "StandardNormal",
    "UniformDequantizer",
    "flip_realnvp",
    "great_circle",
    "straight",
]
