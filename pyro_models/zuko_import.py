"""The one place where zuko is imported."""

import importlib
from types import ModuleType

from torch.distributions import Distribution


def import_zuko() -> ModuleType:
    """Import zuko without its side effect: it turns off validation of all distributions in the process."""
    validates = Distribution._validate_args
    try:
        return importlib.import_module("zuko")
    finally:
        Distribution.set_default_validate_args(validates)
