"""The parts that files may name, a fixed table, and the plain values that each part takes."""

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin

_TABLES = ("pyro_models.parts", "inference.objectives")  # each module lists its PARTS by role
_LARGEST = 2**53  # JSON, YAML and floating point agree on whole numbers up to here

Role = type("Role", (str,), {"__doc__": "The hint of an option that is itself a part, of this role."})


@dataclass(frozen=True)
class Part:
    """One entry of the table.

    Args:
        role: "model", "guide", "prior", "objective", ...
        path: its import path in files.
        constructor: the class, or a function that builds one.
    """

    role: str
    path: str
    constructor: Callable[..., Any]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def options(self) -> dict[str, Any]:
        """The type hint of every option, see :func:`fits`."""
        return options_of(self.constructor)


def options_of(constructor: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a constructor's options; a :class:`Role` for options that are parts.

    An option without an annotation has the type of its default, and accepts only None if that is None.
    """
    target = constructor.__init__ if inspect.isclass(constructor) else constructor
    try:
        hints = typing.get_type_hints(target)
    except Exception:  # annotations may name what does not exist
        hints = {}
    parameters = inspect.signature(constructor).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: Role(p.name) if p.name in roles() else hints.get(p.name, type(p.default)) for p in named}


@cache
def parts() -> tuple[Part, ...]:
    """The whole table."""
    return tuple(
        Part(role, f"{module.removesuffix('.parts')}.{constructor.__name__}", constructor)
        for module in _TABLES
        for role, constructors in import_module(module).PARTS.items()
        for constructor in constructors
    )


@cache
def roles() -> frozenset[str]:
    return frozenset(role for module in _TABLES for role in import_module(module).PARTS)


@cache
def _by_path() -> Mapping[str, Part]:
    """The table by every path under which a run may have recorded a part; paths are looked up, never imported."""
    paths: dict[str, Part] = {}
    for part in parts():
        home = part.constructor.__module__.split(".")
        prefixes = {part.path.rpartition(".")[0], *(".".join(home[:count]) for count in range(1, len(home) + 1))}
        paths |= {f"{prefix}.{part.name}": part for prefix in prefixes} | {part.name: part}
    return paths


def find_part(path: str) -> Part | None:
    """The part with this name or exact import path, or None."""
    return _by_path().get(path)


def parts_for(role: str) -> list[str]:
    """The names of all parts for a role."""
    return [part.name for part in parts() if part.role == role]


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value fits an option's type hint.

    Booleans are not whole numbers, which lie within 2^53; numbers are finite; every item of a list must
    fit.  What a file cannot hold (a tensor, a function) never fits.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in inner)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if origin in (list, Sequence) or (origin is tuple and inner[1:] == (...,)):
        return isinstance(value, list | tuple) and all(fits(item, inner[0]) for item in value)
    if origin is tuple:
        return isinstance(value, list | tuple) and len(value) == len(inner) and all(map(fits, value, inner))
    if hint is int:
        return type(value) is int and abs(value) <= _LARGEST
    if hint is float:
        return fits(value, int) or (type(value) is float and math.isfinite(value))
    return hint in (bool, str, types.NoneType) and type(value) is hint


def is_plain(hint: Any) -> bool:
    """Whether plain values, in a file or on the command line, can fit this type hint."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType, list, tuple, Sequence):
        return all(part in (..., types.NoneType) or is_plain(part) for part in inner)
    return hint in (bool, int, float, str)


def described(hint: Any) -> str:
    """A hint in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(map(described, inner))
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin in (list, tuple, Sequence):
        return f"a list, each {described(inner[0])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a string", types.NoneType: "null"}
    return words.get(hint, "a value that no file can hold")
