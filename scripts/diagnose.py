"""Report what a trained run has learned: the active coordinates of its code, collapse, the quality of its guide."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("diagnose")
