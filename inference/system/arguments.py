"""Runtime type checks for the public functions and constructors.

The other package has the same file: neither imports the other, and beartype's import hook will not do.  It also
checks what functions return, where Pyro's own ``Independent`` is no ``TorchDistribution``, and nothing under
``python -O``.
"""

import functools
import inspect
import re
import reprlib
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_PLAIN = (str, bytes, int, float, complex, NoneType)  # a message shows these whole
_WORDS = {
    "NoneType": "None",
    "Callable": "a function or a module",
    "DataSet": "a DataSet, such as Vectors or Images",
    "ndarray": "a NumPy array",
}


@functools.cache
def _fits() -> Callable[..., bool]:
    from beartype import BeartypeConf  # slow to import, so only once something is called
    from beartype.door import is_bearable

    return functools.partial(is_bearable, conf=BeartypeConf(is_pep484_tower=True))


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
        fits = _fits()
        for name, value in chain(zip(chain(places, *map(repeat, rest)), args, strict=False), kwargs.items()):
            if name in hints and not fits(value, hints[name]):
                expected, found = _in_words(hints[name]), _described(value)
                advice = "; torch.from_numpy(...) makes one of it" if "NumPy" in found and "Tensor" in expected else ""
                raise TypeError(f"Argument {name} of {called}() must be {expected}; got {found}{advice}")
        return function(*args, **kwargs)

    vars(checked)["arguments_checked"] = True
    return checked


def _in_words(hint: Any) -> str:
    """What a type hint asks for."""
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(map(_in_words, get_args(hint)))
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    name = hint.__name__ if isinstance(hint, type) and not get_args(hint) else re.sub(r"[\w.]+\.", "", str(hint))
    return _named(name)


def _described(value: Any) -> str:
    """A value in a few words: a plain one itself, of others the type and shape."""
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    if isinstance(value, _PLAIN) or (parts and all(isinstance(part, _PLAIN) for part in parts)):
        return reprlib.repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape = getattr(value, "shape", None)
    return f"{_named(type(value).__name__)}{f' of shape {tuple(shape)}' if isinstance(shape, tuple) else ''}"


def _named(name: str) -> str:
    """The name of a type as a sentence has it; Vectors, Images and Settings are plural."""
    article = "" if name.endswith("s") else "an " if name[0] in "AEIOUaeiou" else "a "
    return _WORDS.get(name.partition("[")[0], f"{article}{name}")


def check_arguments(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Make a package's public functions and constructors raise TypeError for arguments of the wrong type."""
    for name in names:
        found = namespace[name]
        if inspect.isfunction(found):
            namespace[name] = _checked(found)
        elif inspect.isclass(found) and inspect.isfunction(vars(found).get("__init__")):
            setattr(found, "__init__", _checked(found.__init__))  # noqa: B010  (for mypy)
