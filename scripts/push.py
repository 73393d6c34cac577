"""Share a trained run on the Hugging Face Hub."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("push")
