"""Train a pair whose posterior provably collapses, then six cures one by one, and show which of them help."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("collapse_study")
