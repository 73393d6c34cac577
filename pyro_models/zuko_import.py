"""The one place where zuko is imported."""

import importlib
from types import ModuleType

from torch.distributions import Distribution


def import_zuko() -> ModuleType:
    """The zuko package, imported when a part needs it, and without what its import does to everyone else.

    It switches the validation of all distributions off, for the whole process.
    """
    validates = Distribution._validate_args
    try:
        return importlib.import_module("zuko")
    finally:
        Distribution.set_default_validate_args(validates)
