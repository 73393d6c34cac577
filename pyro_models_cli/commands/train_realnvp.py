"""Train a RealNVP flow on integer pixels."""

from collections.abc import Sequence

from jsonargparse import Namespace

from pyro_models_cli.parser import Choice, Parser, describe
from pyro_models_cli.training import OBJECTIVE, add_training_options, labels_known, load_images, train_pair

FLOW = Choice(
    "flow", ("flip_realnvp", "image_realnvp", "multiscale_realnvp", "masked_realnvp"), "density of the intensities"
)
DEQUANTIZER = Choice(
    "dequantizer", ("UniformDequantizer", "FlowDequantizer"), "guide q(y|x) from pixels to intensities", kind="guide"
)


def parse(argv: Sequence[str] | None = None, trusted: bool = True) -> tuple[Parser, Namespace]:
    """The parser, and the options that it has read."""
    parser = Parser(description=__doc__)
    parser.add_choices(FLOW, DEQUANTIZER, OBJECTIVE)
    parser.add_argument("--conditional", action="store_true", help="a flow of images given their labels")
    add_training_options(parser, epochs=70, batch_size=250, lr=2e-3, clip_norm=50.0)
    return parser, parser.parse(argv, trusted)


def command(argv: Sequence[str] | None = None, trusted: bool = True) -> None:
    parser, options = parse(argv, trusted)
    train, test = load_images(parser, options)
    known = {"image_shape": list(train.image_shape), "levels": train.levels, **labels_known(train)}
    pair = {
        "model": describe("pyro_models.FlowModel", flow=describe(options.flow, **known), **known),
        "guide": describe(options.dequantizer, **known),
    }
    train_pair(parser, options, pair, train, test, show="bits_per_dim")
