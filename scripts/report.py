"""Gather trained runs into one self-contained HTML report with numbered figures and tables."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("report")
