"""``python -m pyro_models_cli``: the same as ``pyro-models``."""

from pyro_models_cli.start import pyro_models

pyro_models()
