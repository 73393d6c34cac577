"""Networks: plain ``torch.nn`` modules that accept any leading dimensions."""

from pyro_models.networks.context import WithContext
from pyro_models.networks.decoders import ConvDecoder, MLPDecoder
from pyro_models.networks.encoders import ConvEncoder, MLPEncoder
from pyro_models.networks.mixture_heads import ScaleShiftAndMixture
from pyro_models.networks.mlp import MLP, Activation, Parallel
from pyro_models.networks.pixel_cnn import PixelCNN
from pyro_models.networks.resnet import ResNet, ScaleAndShift
from pyro_models.networks.scale import scale_of

__all__ = [
    "MLP",
    "Activation",
    "ConvDecoder",
    "ConvEncoder",
    "MLPDecoder",
    "MLPEncoder",
    "Parallel",
    "PixelCNN",
    "ResNet",
    "ScaleAndShift",
    "ScaleShiftAndMixture",
    "WithContext",
    "scale_of",
]
