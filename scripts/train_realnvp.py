"""Train a RealNVP flow on integer pixels."""

from _cli import Choice, Parser, describe, main
from _training import OBJECTIVE, add_training_options, labels_known, load_images, train_pair

FLOW = Choice(
    "flow", ("flip_realnvp", "image_realnvp", "multiscale_realnvp", "masked_realnvp"), "density of the intensities"
)
DEQUANTIZER = Choice(
    "dequantizer", ("UniformDequantizer", "FlowDequantizer"), "guide q(y|x) from pixels to intensities"
)


def train_realnvp() -> None:
    parser = Parser(description=__doc__)
    parser.add_choices(FLOW, DEQUANTIZER, OBJECTIVE)
    parser.add_argument("--conditional", action="store_true", help="a flow of images given their labels")
    add_training_options(parser, epochs=70, batch_size=250, lr=2e-3, clip_norm=50.0)
    options = parser.parse()

    train, test = load_images(parser, options)
    known = {"image_shape": list(train.image_shape), "levels": train.levels, **labels_known(train)}
    pair = {
        "model": describe("pyro_models.FlowModel", flow=describe(options.flow, **known), **known),
        "guide": describe(options.dequantizer, **known),
    }
    train_pair(parser, options, pair, train, test, show="bits_per_dim")


if __name__ == "__main__":
    main(train_realnvp)
