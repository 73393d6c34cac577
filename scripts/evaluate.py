"""Estimate importance-weighted bounds of a trained run on the test images, with standard errors."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("evaluate")
