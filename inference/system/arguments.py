"""Arguments of another type than is annotated, told where they are given.

The same as in the other package: neither imports the other.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.door import is_bearable
from beartype.roar import BeartypeDecorHintPep585DeprecationWarning

_CONF = BeartypeConf(violation_param_type=TypeError, is_pep484_tower=True, is_color=False)


def _checked(function: Callable) -> Callable:
    """The function with its arguments checked, under ``python -O`` too, where beartype's decorator does nothing.

    What it returns is not: to look into a list beartype draws from Python's random numbers, which are the caller's.
    """
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if name != "return"}
    decorated = beartype(conf=_CONF)(function)
    function.__annotations__ = decorated.__annotations__ = hints
    return decorated if decorated is not function else _checked_one_by_one(function)


def _checked_one_by_one(function: Callable) -> Callable:
    signature = inspect.signature(function)
    hints = {p.name: p.annotation for p in signature.parameters.values() if p.annotation is not p.empty}
    many = {p.name for p in signature.parameters.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name, given in signature.bind(*args, **kwargs).arguments.items():
            values = [given] if name not in many else list(given.values() if isinstance(given, dict) else given)
            hint = hints.get(name, object)
            if not isinstance(hint, str) and not all(is_bearable(value, hint, conf=_CONF) for value in values):
                raise TypeError(f"{function.__qualname__}() takes {name} of type {hint}; got {given!r}")
        return function(*args, **kwargs)

    return checked


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
