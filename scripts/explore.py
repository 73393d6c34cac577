"""Make one page on which trained runs are played with: in any browser, offline, without a server."""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("explore")
