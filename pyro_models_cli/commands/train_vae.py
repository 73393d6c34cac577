"""Train a variational autoencoder: a model p of images or vectors x and their codes z, and a guide q(z|x).

The objective is a bound on log p(x), such as the evidence lower bound (ELBO): the log-likelihood of x given its code
less the Kullback-Leibler divergence (KL) of the guide from the prior.  All are in nats per image or vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from inference import Run, build
from inference.data.images import BINARISATIONS
from pyro_models_cli.choices import Choice, Part, describe
from pyro_models_cli.data import Data
from pyro_models_cli.options import one_of
from pyro_models_cli.recorded import command_of
from pyro_models_cli.training import (
    OBJECTIVE,
    TrainingOptions,
    check_suits,
    labels_known,
    load_data,
    parse_training,
    recorded_as,
    train_pair,
)

MODEL = Choice("model", ("VAE", "TwoLevelVAE"), "form of p(x, z)")
PRIOR = Choice(
    "prior", ("StandardNormal", "GaussianMixture", "VampPrior", "FlowPrior", "ZukoPrior", "ClassNormal"), "prior p(z)"
)
DECODER = Choice("decoder", ("MLPDecoder", "ConvDecoder"), "network of p(x|z)")
LIKELIHOOD = Choice(
    "likelihood",
    (
        *("BernoulliPixels", "AutoregressivePixels", "PixelCNNPixels"),
        *("CategoricalPixels", "LogisticPixels", "GaussianVectors"),
    ),
    "form of p(x|z)",
    for_vectors="GaussianVectors",
)
ENCODER = Choice("encoder", ("MLPEncoder", "ConvEncoder"), "network of q(z|x)")
GUIDE = Choice(
    "guide",
    ("MeanFieldGuide", "FullRankGuide", "FlowGuide", "IAFGuide", "SemiAmortizedGuide", "TwoLevelGuide", "TopDownGuide"),
    "form of q(z|x)",
)


@dataclass(frozen=True, kw_only=True)
class TrainVAEOptions(TrainingOptions):
    """Options of the VAE.

    A part is a name, an import path, or a description as in a configuration file.

    >>> mixture = {"class_path": "GaussianMixture", "init_args": {"num_components": 5}}
    >>> options = TrainVAEOptions(dataset="digits", prior=mixture, epochs=1, out="runs/mixture")
    >>> options.prior["init_args"]["num_components"], options.guide["class_path"]
    (5, 'pyro_models.MeanFieldGuide')

    Args:
        model: form of p(x, z).
        prior: p(z).
        decoder: network of p(x|z).
        likelihood: form of p(x|z); by default BernoulliPixels, or GaussianVectors for vectors.
        guide: form of q(z|x).
        encoder: network of q(z|x).
        latent_dim: number of coordinates of the code z, by default 40 for images and 8 for vectors; of the lower code
            in a model with two.
        top_dim: number of coordinates of the upper code, if there are two; by default half of latent_dim.
        binarisation: how grey pixels become black or white, by default dynamic; none for grey levels, and vectors.
        conditional: model images or vectors given their labels.
    """

    choices: ClassVar[tuple[Choice, ...]] = (MODEL, PRIOR, DECODER, LIKELIHOOD, GUIDE, ENCODER, OBJECTIVE)

    model: Part = MODEL.names[0]
    prior: Part = PRIOR.names[0]
    decoder: Part = DECODER.names[0]
    likelihood: Part | None = None
    guide: Part = GUIDE.names[0]
    encoder: Part = ENCODER.names[0]
    latent_dim: int | None = field(default=None, metadata={"by_kind": {"images": 40, "vectors": 8}})
    top_dim: int | None = None
    binarisation: str | None = one_of([*BINARISATIONS, "none"], None, images="dynamic", vectors="none")
    conditional: bool = False
    epochs: int = 150
    lr: float = 2e-3


def parse(argv: Sequence[str] | None = None, trusted: bool = True) -> TrainVAEOptions:
    """The options that a command line gives, see :func:`pyro_models_cli.training.parse_training`."""
    return parse_training(TrainVAEOptions, __doc__, argv, trusted)


def train_vae(options: TrainVAEOptions, command: str | None = None) -> Run:
    """Train a VAE, or continue its training; everything about it is kept in the run folder.

    Args:
        options: of the pair, its data and the training.
        command: the command line to record; by default one that gives these options.

    Raises:
        ValueError, DataError: if the parts, the data and the settings do not fit together, or the data cannot be read.
        RunError, OSError: if the run cannot be written to its folder.
        FloatingPointError: if a loss or a gradient is NaN or infinite.
    """
    data = load_data(options)
    pair = describe_pair(options, data)
    return train_pair(options, pair, data, "negative_elbo", command or command_of("train-vae", options))


def describe_pair(options: TrainVAEOptions, data: Data) -> dict[str, Any]:
    """Describe model and guide: every part with what it needs to know of the data and the other parts."""
    assert options.latent_dim is not None  # set with the options, like the likelihood
    top_dim = options.top_dim or max(1, options.latent_dim // 2)
    known = {"latent_dim": options.latent_dim, "top_dim": top_dim, "image_shape": list(data.train.shape)}
    known |= {"levels": data.levels, **labels_known(data.train)}
    assert options.likelihood is not None
    likelihood = describe(options.likelihood, **known)
    check_suits(data, likelihood, "GaussianVectors")
    known |= {
        "likelihood": likelihood,
        "per_pixel": _per_pixel(build({"likelihood": likelihood}, options.allow_import)["likelihood"]),
    }
    known |= {role: {"same_as": role} for role in ("model", "guide")}  # for parts that use the other half
    layers = describe(options.model, **known)["init_args"]
    if options.top_dim is not None and "top_dim" not in layers:
        raise ValueError(
            "top_dim is of a model with two codes, such as TwoLevelVAE, and this one has none: leave it out"
        )
    code = {**known, "latent_dim": layers.get("top_dim", options.latent_dim)}
    known |= {"prior": describe(options.prior, **code), "encoder": describe(options.encoder, **known)}
    seen = options.latent_dim + (top_dim if layers.get("skip") else 0)
    known |= {"decoder": describe(options.decoder, **{**known, "latent_dim": seen})}
    return {"model": describe(options.model, **known), "guide": describe(options.guide, **known)}


def _per_pixel(likelihood: nn.Module) -> int:
    found = getattr(likelihood, "per_pixel", None)
    if not isinstance(found, int):
        raise ValueError(
            f"{type(likelihood).__name__} cannot be a likelihood: it must say in per_pixel how many numbers of the "
            "decoder it takes for each pixel"
        )
    return found


def command(argv: Sequence[str] | None = None) -> None:
    train_vae(parse(argv), recorded_as(argv))
