"""Arguments of another type than is annotated, told where they are given.

The same as in the other package: neither imports the other.
"""

import inspect
import warnings
from collections.abc import Iterable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep585DeprecationWarning

_checked = beartype(conf=BeartypeConf(violation_param_type=TypeError, is_pep484_tower=True, is_color=False))


def check_arguments(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Have a package's public functions and constructors raise TypeError for arguments of another type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BeartypeDecorHintPep585DeprecationWarning)  # of annotations in torch
        for name in names:
            found = namespace[name]
            if inspect.isfunction(found):
                namespace[name] = _checked(found)
            elif inspect.isclass(found) and inspect.isfunction(vars(found).get("__init__")):
                setattr(found, "__init__", _checked(found.__init__))  # noqa: B010  (for mypy)
