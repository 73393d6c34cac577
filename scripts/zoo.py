"""Train, diagnose and evaluate one VAE for every row of a list, and write the table; rows already made are skipped."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("zoo")
