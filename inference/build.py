"""Objects described as data: ``{"class_path": ..., "init_args": {...}}``."""

import importlib
from collections.abc import Sequence
from typing import Any

PROJECT = ("pyro_models",)


def import_object(path: str, allow: Sequence[str] | None = None) -> Any:
    """The class or function at a dotted import path.

    Args:
        path: such as ``"pyro_models.priors.GaussianMixture"``.
        allow: packages or modules from which it may come; any, if not given.

    Raises:
        ValueError: if there is no such object, or its package is not allowed.
    """
    module, _, name = path.rpartition(".")
    _check_allowed(path, path, allow)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"there is no class or function {path!r} to import ({error})") from error
    _check_allowed(path, getattr(found, "__module__", None) or "", allow)  # not what it imports from elsewhere
    return found


def _check_allowed(path: str, origin: str, allow: Sequence[str] | None) -> None:
    if allow is not None and not is_within(origin, allow):
        raise ValueError(
            f"refused to import {path!r}: it is not part of this project; if you trust that code, "
            f"allow it with --allow_import {path.split('.')[0]}"
        )


def is_within(path: str, packages: Sequence[str]) -> bool:
    """Whether a dotted path leads into one of some packages or modules."""
    return any(f"{path}.".startswith(f"{package}.") for package in packages)


def build(spec: Any, allow: Sequence[str] | None = PROJECT) -> Any:
    """Make what a description describes, inner descriptions first.

    A mapping with ``class_path`` becomes a call of that class or function with its ``init_args``;
    lists and other mappings are walked through; ``{"same_as": name}`` is what the outermost
    mapping holds by that name, one object however often it is named; anything else is itself.

    Raises:
        ValueError: if a path cannot or may not be imported, the arguments do not fit it, or two
            named objects each need the other.
    """
    return _Builder(spec, allow).make(spec)


class _Builder:
    """Makes each of the outermost mapping's objects once, when it is first needed."""

    def __init__(self, spec: Any, allow: Sequence[str] | None) -> None:
        self.spec = spec
        self.allow = allow
        self.made: dict[str, Any] = {}
        self.begun: list[str] = []

    def make(self, spec: Any) -> Any:
        if isinstance(spec, list):
            return [self.make(item) for item in spec]
        if not isinstance(spec, dict):
            return spec
        if "same_as" in spec:
            return self.named(spec["same_as"])
        if "class_path" in spec:
            return self.call(spec)
        if spec is self.spec:
            return {name: self.named(name) for name in spec}
        return {key: self.make(value) for key, value in spec.items()}

    def named(self, name: str) -> Any:
        if name in self.begun and name not in self.made:
            raise ValueError(f"{' and '.join(self.begun)} each need the other: choose another part for one of them")
        if name not in self.made:
            if name not in self.spec:
                raise ValueError(f"there is nothing named {name!r} to be the same as")
            self.begun.append(name)
            self.made[name] = self.make(self.spec[name])
        return self.made[name]

    def call(self, spec: dict[str, Any]) -> Any:
        constructor = import_object(spec["class_path"], self.allow)
        arguments = {key: self.make(value) for key, value in (spec.get("init_args") or {}).items()}
        try:
            return constructor(**arguments)
        except TypeError as error:
            raise ValueError(f"{spec['class_path']} does not take these arguments: {error}") from error
