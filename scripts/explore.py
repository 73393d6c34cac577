"""Make a web page to play with trained models: in any browser, offline, without a server."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("explore")
