"""Deep generative models as pairs of Pyro programs: a model and its guide."""

from pyro_models.distributions import Quantized
from pyro_models.flows import Flow, FlowDistribution, flip_realnvp, image_realnvp, masked_realnvp, multiscale_realnvp
from pyro_models.guides import FlowDequantizer, MeanFieldGuide, UniformDequantizer
from pyro_models.interpolation import great_circle, straight
from pyro_models.models import VAE, FlowModel, Inpainting
from pyro_models.networks import MLP, MLPDecoder, MLPEncoder, Parallel, ResNet, ScaleAndShift, WithContext
from pyro_models.priors import GaussianMixture, StandardNormal
from pyro_models.transforms import (
    ActNorm,
    AffineCoupling,
    Bijector,
    ChannelPart,
    Flip,
    MaskedCoupling,
    Squash,
    Squeeze,
    checkerboard,
)

__all__ = [
    "MLP",
    "VAE",
    "ActNorm",
    "AffineCoupling",
    "Bijector",
    "ChannelPart",
    "Flip",
    "Flow",
    "FlowDequantizer",
    "FlowDistribution",
    "FlowModel",
    "GaussianMixture",
    "Inpainting",
    "MLPDecoder",
    "MLPEncoder",
    "MaskedCoupling",
    "MeanFieldGuide",
    "Parallel",
    "Quantized",
    "ResNet",
    "ScaleAndShift",
    "Squash",
    "Squeeze",
    "StandardNormal",
    "UniformDequantizer",
    "WithContext",
    "checkerboard",
    "flip_realnvp",
    "great_circle",
    "image_realnvp",
    "masked_realnvp",
    "multiscale_realnvp",
    "straight",
]
