"""The parts of a pair that a file or a command line may name, by role.

Your own part goes by its import path and needs no entry here; a file may name it only if its
package is allowed.
"""

from pyro_models.flows import (
    ZukoFlow,
    flip_realnvp,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
    vector_realnvp,
)
from pyro_models.guides import (
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
from pyro_models.likelihoods import (
    AutoregressivePixels,
    BernoulliPixels,
    CategoricalPixels,
    GaussianVectors,
    LogisticPixels,
    PixelCNNPixels,
)
from pyro_models.models import VAE, DensityModel, FlowModel, TwoLevelVAE
from pyro_models.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from pyro_models.priors import ClassNormal, FlowPrior, GaussianMixture, StandardNormal, VampPrior, ZukoPrior

PARTS = {
    "model": (VAE, TwoLevelVAE, FlowModel, DensityModel),
    "prior": (StandardNormal, GaussianMixture, VampPrior, FlowPrior, ZukoPrior, ClassNormal),
    "decoder": (MLPDecoder, ConvDecoder),
    "likelihood": (
        *(BernoulliPixels, AutoregressivePixels, PixelCNNPixels),
        *(CategoricalPixels, LogisticPixels, GaussianVectors),
    ),
    "encoder": (MLPEncoder, ConvEncoder),
    "guide": (
        *(MeanFieldGuide, FullRankGuide, FlowGuide, IAFGuide, SemiAmortizedGuide, TwoLevelGuide, TopDownGuide),
        *(UniformDequantizer, FlowDequantizer, NoLatents),
    ),
    "flow": (flip_realnvp, image_realnvp, multiscale_realnvp, masked_realnvp, vector_realnvp, ZukoFlow),
}
