"""Train a RealNVP flow on integer pixels."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("train_realnvp")
