"""Complete images of which a part is missing, by Hamiltonian Monte Carlo in a trained flow's base space."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("inpaint")
