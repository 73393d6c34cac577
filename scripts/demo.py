"""Train, evaluate and report on scikit-learn's digits, in about a minute."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("demo")
