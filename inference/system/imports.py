"""Import of other people's code by a dotted path, within the packages that were allowed."""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, Literal

_IMPORT_PATH = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")  # without private names
_KINDS: dict[str, Callable[[Any], bool]] = {"class": inspect.isclass, "function": inspect.isfunction}
_OURS = {"class": "parts", "function": "data sets"}  # what this project has of a kind

Kind = Literal["class", "function"]


def is_import_path(path: str) -> bool:
    """Whether a text is a dotted path without private names."""
    return bool(_IMPORT_PATH.fullmatch(path))


def is_within(path: str, packages: Sequence[str]) -> bool:
    """Whether a dotted path leads into one of these packages or modules."""
    return any(f"{path}.".startswith(f"{package}.") for package in packages)


def check_allowed(path: str, allow: Sequence[str] | None, kind: Kind = "class") -> None:
    """Check that a dotted path, such as ``"mine.Laplace"``, leads into an allowed package; None allows any.

    Raises:
        ValueError: if it does not.
    """
    if allow is not None and not is_within(path, allow):
        raise ValueError(
            f"refused to import {path!r:.80}: it is none of this project's {_OURS[kind]}; if you trust that code, "
            f"allow it with --allow_import {path.split('.')[0]} (in Python, with the argument allow)"
        )


def imported(path: str, allow: Sequence[str] | None, kind: Kind) -> Any:
    """The class or function at a path, if an allowed package defines it rather than imports it from elsewhere.

    Raises:
        ValueError: if it is not allowed, or is not there.
    """
    check_allowed(path, allow, kind)
    module, _, name = path.rpartition(".")
    packages = (path.split(".")[0],) if allow is None or path in allow else allow
    try:
        found = vars(importlib.import_module(module)).get(name)
    except Exception as error:  # other people's modules may raise anything
        raise ValueError(f"cannot import {module} ({type(error).__name__}: {error})") from error
    if not _KINDS[kind](found) or not is_within(found.__module__, packages):
        place = getattr(sys.modules[module], "__file__", None)
        defined = [name for name, value in vars(sys.modules[module]).items() if _KINDS[kind](value)]
        near = get_close_matches(name, defined, n=1)
        raise ValueError(
            f"{module} defines no {kind} {name}"
            + (f": that is of type {type(found).__name__}" if found is not None and not _KINDS[kind](found) else "")
            + (f"; what was imported is {place}" if place else "")
            + (f"; did you mean {near[0]}?" if near and near != [name] else "")
        )
    return found


def look_here_too(packages: Iterable[str]) -> None:
    """Let imports find allowed packages in the current folder, and what these import there; installed ones come first.

    The folder itself does not join ``sys.path``: libraries try to import modules that are not installed, and would
    find a stranger's files of these names.
    """
    names = {package.split(".")[0] for package in packages}
    for finder in sys.meta_path:
        if isinstance(finder, _Here) and finder.folder == os.getcwd():
            finder.names |= names
            return
    if names:
        sys.meta_path.append(_Here(names))


class _Here(MetaPathFinder):
    """Finds modules in the folder that was the current one: those of these names, and what they import."""

    def __init__(self, names: set[str]) -> None:
        self.names = names
        self.found: set[str] = set()
        self.folder = os.getcwd()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if path is not None or not (fullname in self.names or _importer() in self.found):
            return None
        spec = PathFinder.find_spec(fullname, [self.folder])
        self.found |= {fullname} if spec else set()
        return spec


def _importer() -> str:
    """The top-level package whose code is importing, as a finder sees it."""
    name, frame = "importlib", sys._getframe(2)
    while name in ("importlib", "_frozen_importlib", "_frozen_importlib_external") and frame.f_back:
        frame = frame.f_back
        name = str(frame.f_globals.get("__name__")).split(".")[0]
    return name
