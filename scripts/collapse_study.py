"""A pair whose posterior provably collapses, then six cures one by one: which of them help, and why.

Above a certain weight of the divergence, which the images and the likelihood decide, a decoder that
ignores the code is a stable optimum (inference.collapse_threshold).  The pair is trained beyond it.
"""

from pyro_models_cli.start import run

if __name__ == "__main__":
    run("collapse_study")
