"""Defaults that programs, saved runs and published numbers rely on."""

import inspect

import pytest

import inference
import pyro_models

PYRO_MODELS = """
MLP: hidden=(400,400), activation=ELU, dropout=0.0, zero_init=False
VAE: num_classes=0
ActNorm: event_dim=3
AffineCoupling: bound=2.0, dim=-1, swap=False
AmortizedGuide: num_classes=0
AutoregressivePixels: hidden=()
ClassNormal: context=0
ConvDecoder: channels=16, stages=2, blocks=1, latent_dropout=0.0, per_pixel=1, context=0
ConvEncoder: channels=16, stages=2, blocks=1, features=256, noise=0.0, context=0, levels=2
DensityModel: num_classes=0
Flow: context=0
FlowDequantizer: couplings=4, channels=32, blocks=2
FlowGuide: couplings=4, hidden=(128,), num_classes=0, components=0, bound=2.0
FlowModel: num_classes=0
FlowPrior: couplings=6, hidden=(128,), context=0, bound=0.5, components=0
FullRankGuide: num_classes=0
GaussianMixture: num_components=10, spread=1.0
GaussianVectors: scale_from_decoder=False, min_scale=0.01
IAFGuide: layers=2, hidden=(128,), num_classes=0
Inpainting: noise=0.3
LogisticMixtureCoupling: components=8, bound=2.0, dim=-1, swap=False
MLPDecoder: hidden=(400,400), activation=ELU, latent_dropout=0.0, per_pixel=1, context=0
MLPEncoder: hidden=(400,400), activation=ELU, noise=0.0, context=0, levels=2
MaskedCoupling: bound=2.0
MeanFieldGuide: num_classes=0
PixelCNNPixels: sight=3, channels=32, blocks=2, convolutions=0
ResNet: channels=128, blocks=4, zero_init=False
SemiAmortizedGuide: steps=3, lr=0.1, num_classes=0
Squash: alpha=1e-06
TopDownGuide: hidden=(300,), num_classes=0, couplings=0, bound=0.5
TwoLevelGuide: hidden=(100,100), num_classes=0
TwoLevelVAE: hidden=(100,100), num_classes=0, skip=False
VampPrior: num_components=50, levels=2
WithContext: everywhere=False
ZukoFlow: kind=NSF, transforms=3, hidden=(64,64), context=0
ZukoPrior: kind=NSF, transforms=3, hidden=(64,64)
alternating: odd=False
checkerboard: odd=False
flip_realnvp: pairs=4, hidden=(512,512), activation=ELU, dropout=0.0, separate=False, bound=2.0, alpha=1e-06, context=0
flip_realnvp: components=0
image_realnvp: channels=128, blocks=4, outer=4, squeezed=3, inner=3, alpha=1e-06, context=0, components=0
masked_realnvp: layers=6, hidden=(512,512), activation=ReLU, alpha=1e-06, context=0, components=0
multiscale_realnvp: scales=2, channels=64, blocks=8, couplings=3, last=4, alpha=1e-06, context=0, components=0
vector_realnvp: couplings=8, hidden=(128,128), activation=Tanh, bound=2.0, context=0, components=0
"""
INFERENCE = """
BetaELBO: beta=1.0, warm_up=0.0, cycles=1, free_bits=0.0
DReG: num_particles=5
RenyiELBO: alpha=0.0, num_particles=5
STL: num_particles=1
Images: binarisation=none, conditional=False
binarise: seed=0
collapse_threshold: steps=500
diagnose: num_images=1000, num_weighted=100, num_samples=5000, seed=0
negative_bounds: ms=(5,50,150), repeats=5, batch_size=200, seed=0
"""
TABLES = ((pyro_models, PYRO_MODELS), (inference, INFERENCE))
CASES = [(package, line) for package, text in TABLES for line in text.strip().splitlines()]


@pytest.mark.parametrize(("package", "line"), CASES)
def test_defaults(package, line):
    name, expected = line.split(": ")
    parameters = inspect.signature(getattr(package, name)).parameters
    for default in expected.split(", "):
        argument, value = default.split("=")
        assert str(parameters[argument].default).replace(" ", "") == value, argument
