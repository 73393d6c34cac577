"""Train a variational autoencoder."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("train_vae")
