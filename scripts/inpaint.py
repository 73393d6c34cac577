"""Complete images with missing pixels, by Hamiltonian Monte Carlo in the base space of a trained flow."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("inpaint")
