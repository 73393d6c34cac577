"""Train, diagnose and evaluate a VAE for every row of a list, and print the table; rows already made are skipped."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("zoo")
