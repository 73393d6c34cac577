"""Train a RealNVP flow on integer pixels x: a density of intensities y, and a guide q(y|x) that dequantises them."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("train_realnvp")
