"""Deep generative models as pairs of Pyro programs: a model and its guide."""

from importlib.metadata import PackageNotFoundError, version

from pyro_models._arguments import check_arguments
from pyro_models.distributions import (
    AutoregressiveBernoulli,
    BernoulliImage,
    DiscretizedLogistic,
    NormalMixture,
    PixelCategorical,
    Quantized,
    UniformCell,
)
from pyro_models.flows import (
    Flow,
    FlowDistribution,
    ZukoFlow,
    flip_realnvp,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
    vector_realnvp,
)
from pyro_models.guides import (
    AmortizedGuide,
    FlowDequantizer,
    FlowGuide,
    FullRankGuide,
    IAFGuide,
    MeanFieldGuide,
    NoLatents,
    SemiAmortizedGuide,
    TopDownGuide,
    TwoLevelGuide,
    UniformDequantizer,
)
from pyro_models.interpolation import great_circle, straight
from pyro_models.likelihoods import (
    AutoregressivePixels,
    BernoulliPixels,
    CategoricalPixels,
    GaussianVectors,
    LogisticPixels,
    PixelCNNPixels,
)
from pyro_models.models import VAE, DensityModel, FlowModel, Inpainting, TwoLevelVAE
from pyro_models.networks import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    Parallel,
    ResNet,
    ScaleAndShift,
    WithContext,
)
from pyro_models.priors import ClassNormal, FlowPrior, GaussianMixture, StandardNormal, VampPrior, ZukoPrior
from pyro_models.transforms import (
    ActNorm,
    AffineCoupling,
    Bijector,
    ChannelPart,
    Flip,
    LogisticMixtureCoupling,
    MaskedCoupling,
    Squash,
    Squeeze,
    alternating,
    checkerboard,
)

__all__ = [
    "MLP",
    "VAE",
    "ActNorm",
    "AffineCoupling",
    "AmortizedGuide",
    "AutoregressiveBernoulli",
    "AutoregressivePixels",
    "BernoulliImage",
    "BernoulliPixels",
    "Bijector",
    "CategoricalPixels",
    "ChannelPart",
    "ClassNormal",
    "ConvDecoder",
    "ConvEncoder",
    "DensityModel",
    "DiscretizedLogistic",
    "Flip",
    "Flow",
    "FlowDequantizer",
    "FlowDistribution",
    "FlowGuide",
    "FlowModel",
    "FlowPrior",
    "FullRankGuide",
    "GaussianMixture",
    "GaussianVectors",
    "IAFGuide",
    "Inpainting",
    "LogisticMixtureCoupling",
    "LogisticPixels",
    "MLPDecoder",
    "MLPEncoder",
    "MaskedCoupling",
    "MeanFieldGuide",
    "NoLatents",
    "NormalMixture",
    "Parallel",
    "PixelCNNPixels",
    "PixelCategorical",
    "Quantized",
    "ResNet",
    "ScaleAndShift",
    "SemiAmortizedGuide",
    "Squash",
    "Squeeze",
    "StandardNormal",
    "TopDownGuide",
    "TwoLevelGuide",
    "TwoLevelVAE",
    "UniformCell",
    "UniformDequantizer",
    "VampPrior",
    "WithContext",
    "ZukoFlow",
    "ZukoPrior",
    "alternating",
    "checkerboard",
    "flip_realnvp",
    "great_circle",
    "image_realnvp",
    "masked_realnvp",
    "multiscale_realnvp",
    "straight",
    "vector_realnvp",
]

try:
    __version__ = version("pyro-models")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"

check_arguments(globals(), __all__)
