"""Runtime type checks for the public functions and constructors.

The other package has the same file: neither imports the other, and beartype's import hook will not do.  It also
checks what functions return, where Pyro's own ``Independent`` is no ``TorchDistribution``, and nothing under
``python -O``.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Any


@functools.cache
def _beartype() -> tuple[Callable[..., bool], Callable[..., None]]:
    from beartype import BeartypeConf  # slow to import, so only once something is called
    from beartype.door import die_if_unbearable, is_bearable

    conf = BeartypeConf(violation_door_type=TypeError, is_pep484_tower=True, is_color=False)
    return functools.partial(is_bearable, conf=conf), functools.partial(die_if_unbearable, conf=conf)


def _checked(function: Callable) -> Callable:
    if "arguments_checked" in vars(function):
        return function
    parameters = list(inspect.signature(function).parameters.values())
    hints = {p.name: p.annotation for p in parameters if not isinstance(p.annotation, str) and p.annotation != p.empty}
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    called = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        fits, complain = _beartype()
        for name, value in chain(zip(chain(places, *map(repeat, rest)), args, strict=False), kwargs.items()):
            if name in hints and not fits(value, hints[name]):
                complain(value, hints[name], exception_prefix=f"Argument {name} of {called}(): ")
        return function(*args, **kwargs)

    vars(checked)["arguments_checked"] = True
    return checked


def check_arguments(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Make a package's public functions and constructors raise TypeError for arguments of the wrong type."""
    for name in names:
        found = namespace[name]
        if inspect.isfunction(found):
            namespace[name] = _checked(found)
        elif inspect.isclass(found) and inspect.isfunction(vars(found).get("__init__")):
            setattr(found, "__init__", _checked(found.__init__))  # noqa: B010  (for mypy)
