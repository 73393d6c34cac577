"""Networks: plain ``torch.nn`` modules that accept any leading dimensions."""

from pyro_models.networks.context import WithContext
from pyro_models.networks.image import MLPDecoder, MLPEncoder
from pyro_models.networks.mlp import MLP, Parallel
from pyro_models.networks.resnet import ResNet, ScaleAndShift

__all__ = ["MLP", "MLPDecoder", "MLPEncoder", "Parallel", "ResNet", "ScaleAndShift", "WithContext"]
