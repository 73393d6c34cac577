"""Train a variational autoencoder."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace
from torch import nn

from inference import Images, build
from inference.data.images import BINARISATIONS
from pyro_models_cli.parser import Choice, Parser, describe
from pyro_models_cli.training import OBJECTIVE, add_training_options, labels_known, load_images, train_pair

MODEL = Choice("model", ("VAE", "TwoLevelVAE"), "form of p(x, z)")
PRIOR = Choice(
    "prior", ("StandardNormal", "GaussianMixture", "VampPrior", "FlowPrior", "ZukoPrior", "ClassNormal"), "prior p(z)"
)
DECODER = Choice("decoder", ("MLPDecoder", "ConvDecoder"), "network of p(x|z)")
LIKELIHOOD = Choice(
    "likelihood",
    ("BernoulliPixels", "AutoregressivePixels", "CategoricalPixels", "LogisticPixels"),
    "form of p(x|z), pixel by pixel",
)
ENCODER = Choice("encoder", ("MLPEncoder", "ConvEncoder"), "network of q(z|x)")
GUIDE = Choice(
    "guide",
    ("MeanFieldGuide", "FullRankGuide", "FlowGuide", "IAFGuide", "SemiAmortizedGuide", "TwoLevelGuide", "TopDownGuide"),
    "form of q(z|x)",
)


def parse(argv: Sequence[str] | None = None, trusted: bool = True) -> tuple[Parser, Namespace]:
    """The parser, and the options that it has read."""
    parser = Parser(description=__doc__)
    parser.add_choices(MODEL, PRIOR, DECODER, LIKELIHOOD, GUIDE, ENCODER, OBJECTIVE)
    parser.add_argument(
        "--latent_dim", type=int, default=40, help="size of the code; with two layers, of the lower one"
    )
    parser.add_argument("--top_dim", type=int | None, default=None, help="size of the upper code of two")
    parser.add_argument(
        "--binarisation", choices=[*BINARISATIONS, "none"], default="dynamic", help="of grey pixels; none to model them"
    )
    parser.add_argument("--conditional", action="store_true", help="a model of images given their labels")
    add_training_options(parser, epochs=150, lr=2e-3)
    return parser, parser.parse(argv, trusted)


def describe_pair(options: Namespace, train: Images, allowed: Sequence[str]) -> dict[str, Any]:
    """Every part with what it needs to know of the images and of the others."""
    levels = train.levels if train.binarisation == "none" else 2
    top_dim = options.top_dim or max(1, options.latent_dim // 2)
    known = {"latent_dim": options.latent_dim, "top_dim": top_dim, "image_shape": list(train.image_shape)}
    known |= {"levels": levels, **labels_known(train)}
    likelihood = describe(options.likelihood, **known)
    known |= {
        "likelihood": likelihood,
        "per_pixel": _per_pixel(build({"likelihood": likelihood}, allowed)["likelihood"]),
    }
    known |= {role: {"same_as": role} for role in ("model", "guide")}  # for parts that use the other half
    layers = describe(options.model, **known)["init_args"]
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


def command(argv: Sequence[str] | None = None, trusted: bool = True) -> None:
    parser, options = parse(argv, trusted)
    train, test = load_images(parser, options)
    pair = describe_pair(options, train, parser.allowed)
    train_pair(parser, options, pair, train, test, show="negative_elbo")
