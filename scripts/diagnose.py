"""Say what a trained run has learned: active coordinates, collapse, the quality of its guide."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("diagnose")
