"""Draw images from a trained model and save them as a figure."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("sample")
