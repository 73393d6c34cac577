"""Train a variational autoencoder: a model p of images x and their codes z, and a guide q(z|x)."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("train_vae")
