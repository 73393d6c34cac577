"""The whole job on scikit-learn's digits, in about a minute: train, evaluate, report."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("demo")
