"""Train a variational autoencoder on binary images."""

from _cli import Choice, Parser, describe, main
from _training import OBJECTIVE, add_training_options, load_images, train_pair

from inference import BINARISATIONS

PRIOR = Choice("prior", ("StandardNormal", "GaussianMixture"), "prior p(z)")
DECODER = Choice("decoder", ("MLPDecoder",), "network of p(x|z)")
ENCODER = Choice("encoder", ("MLPEncoder",), "network of q(z|x)")
GUIDE = Choice("guide", ("MeanFieldGuide",), "form of q(z|x)")


def train_vae() -> None:
    parser = Parser(description=__doc__)
    parser.add_choices(PRIOR, DECODER, GUIDE, ENCODER, OBJECTIVE)
    parser.add_argument("--latent_dim", type=int, default=40, help="size of the code")
    parser.add_argument("--binarisation", choices=list(BINARISATIONS), default="dynamic", help="of grey pixels")
    add_training_options(parser, epochs=150, lr=2e-3)
    options = parser.parse()

    train, test = load_images(options)
    known = {"latent_dim": options.latent_dim, "image_shape": list(train.image_shape)}
    prior, decoder, encoder = (describe(options[role], **known) for role in ("prior", "decoder", "encoder"))
    pair = {
        "model": describe("pyro_models.VAE", prior=prior, decoder=decoder),
        "guide": describe(options.guide, encoder=encoder, **known),
    }
    train_pair(parser, options, pair, train, test, show="negative_elbo")


if __name__ == "__main__":
    main(train_vae)
