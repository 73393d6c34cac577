"""Build objects from plain descriptions: ``{"class_path": ..., "init_args": {...}}``."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pyro.infer import ELBO
from torch import nn

from inference.runs.parts import Role, described, find_part, fits, parts_for, roles
from inference.system.imports import check_allowed, imported, is_import_path

_DEPTH = 20  # of parts within parts


def build(spec: Any, allow: Sequence[str] = ()) -> Any:
    """Build the described object or objects, inner ones first.

    A description is that of one part, ``{"class_path": path, "init_args": {...}}``, or a mapping from
    names such as "model" and "guide" to descriptions.  Within a mapping ``{"same_as": name}`` refers
    to the one object of that name.  A path is in the table of :mod:`inference.runs.parts`, or leads to
    a class within ``allow``.  The whole description is checked before anything is imported or built.

    Args:
        spec: the description.
        allow: your own packages whose classes may be built too.

    Raises:
        ValueError: if it describes anything else, an argument does not fit, or two named objects
            each need the other.

    Example:
        >>> from inference import build
        >>> build({"class_path": "pyro_models.StandardNormal", "init_args": {"latent_dim": 2}})
        StandardNormal()
    """
    if not isinstance(spec, dict) or not spec:
        raise ValueError(f"a description maps names to parts, or class_path to one; got {_short(spec)}")
    builder = _Builder(spec, (allow,) if isinstance(allow, str) else tuple(allow))
    if "class_path" in spec:
        builder.check_part(spec, None)
        return builder.call(spec, None)
    for name, part in spec.items():
        if name not in roles():
            raise ValueError(f"a description has no part {_short(name)}: expected some of {', '.join(sorted(roles()))}")
        builder.check_part(part, name)
    return {name: builder.named(name) for name in spec}


def import_object(path: str, allow: Sequence[str] | None = None) -> Any:
    """A part by its name or import path.

    Args:
        path: such as ``"pyro_models.GaussianMixture"``.
        allow: packages that may supply classes other than this project's parts; by default any.

    Raises:
        ValueError: if there is no such class, or its package is not allowed.
    """
    part = find_part(path)
    if part is not None:
        return part.constructor
    check_may_import(path, allow)
    return imported(path, allow, "class")


def check_may_import(path: str, allow: Sequence[str] | None) -> None:
    """Check that the path of a class outside this project leads into an allowed package.

    Raises:
        ValueError: if it does not.
    """
    if not is_import_path(path):
        raise ValueError(f"there is no part {_short(path)}: expected a name of this project's or an import path")
    check_allowed(path, allow)


class _Builder:
    """Checks a whole description, then builds each named part once, when it is first needed."""

    def __init__(self, spec: dict[str, Any], allow: tuple[str, ...]) -> None:
        self.spec = spec
        self.allow = allow
        self.made: dict[str, Any] = {}
        self.begun: list[str] = []

    def check_part(self, spec: Any, role: str | None, depth: int = 0) -> None:
        """Check that a description is that of a part, for the given role if there is one."""
        what = role or "part"
        if not isinstance(spec, dict) or depth > _DEPTH:
            raise ValueError(f"{what} must be described by class_path and init_args; got {_short(spec)}")
        if spec.keys() == {"same_as"}:
            name = spec["same_as"]
            if name != role or name not in self.spec:
                raise ValueError(f"same_as names {_short(name)}, but there is no such {what}")
            return
        path, arguments = spec.get("class_path"), spec.get("init_args") or {}
        if not spec.keys() <= {"class_path", "init_args"} or not isinstance(path, str):
            raise ValueError(f"{what} must be described by class_path and init_args alone; got {_short(spec)}")
        if not isinstance(arguments, dict) or not all(isinstance(name, str) for name in arguments):
            raise ValueError(f"init_args of {_short(path)} must map names to values; got {_short(arguments)}")
        part = find_part(path)
        if part is None:
            check_may_import(path, self.allow)
            options = None
        elif role is not None and part.role != role:
            raise ValueError(f"{part.name} is no {role}: expected one of {', '.join(parts_for(role))}")
        else:
            options = part.options
        for name, value in arguments.items():
            self._check_option(path, name, value, options, depth)

    def _check_option(self, path: str, name: str, value: Any, options: dict[str, Any] | None, depth: int) -> None:
        if options is not None and name not in options:
            raise ValueError(f"{path} does not take {_short(name)}: it takes {', '.join(options)}")
        hint = _ANYTHING_PLAIN if options is None else options[name]
        if name in roles() and (isinstance(value, dict) or isinstance(hint, Role)):
            if value is not None:
                self.check_part(value, name, depth + 1)
        elif (
            not fits(value, hint)
            and not self._is_default(path, name, value)
            and not (options is None and type(value) is float)
        ):
            raise ValueError(f"{path} takes {name} as {described(hint)}; got {_short(value)}")

    @staticmethod
    def _is_default(path: str, name: str, value: Any) -> bool:
        part = find_part(path)
        default = inspect.signature(part.constructor).parameters[name].default if part else inspect.Parameter.empty
        return type(value) is type(default) and value == default

    def named(self, name: str) -> Any:
        if name in self.begun and name not in self.made:
            path = self.spec[name]["class_path"].rpartition(".")[2]
            raise ValueError(
                f"{' and '.join(self.begun)} each need the other: a part of one of them uses the {name} {path}, which "
                "in turn uses it (a VampPrior needs the guide, a SemiAmortizedGuide the model): choose another"
            )
        if name not in self.made:
            self.begun.append(name)
            self.made[name] = self.make(self.spec[name], name)
        return self.made[name]

    def make(self, value: Any, name: str) -> Any:
        if not isinstance(value, dict):
            return value
        return self.named(value["same_as"]) if "same_as" in value else self.call(value, name)

    def call(self, spec: dict[str, Any], role: str | None) -> Any:
        path = spec["class_path"]
        constructor = import_object(path, self.allow)
        check_kind(constructor, path, role)
        arguments = {name: self.make(value, name) for name, value in (spec.get("init_args") or {}).items()}
        try:
            return constructor(**arguments)
        except TypeError as error:
            raise ValueError(f"{path} does not take these arguments: {error}") from error
        except (
            LookupError,
            AttributeError,
            NameError,
            AssertionError,
            ImportError,
        ) as error:  # in other people's classes
            raise ValueError(f"{path} cannot be built: {type(error).__name__}: {error}") from error


_ANYTHING_PLAIN = bool | int | float | str | None | list[bool | int | float | str | None]


def check_kind(constructor: Callable[..., Any], path: str, role: str | None) -> None:
    """Check that a class can play a role: objectives are Pyro ELBOs, all other parts torch modules.

    Raises:
        ValueError: if it cannot.
    """
    if find_part(path) is not None:
        return
    kinds = {None: (ELBO, nn.Module), "objective": (ELBO,)}.get(role, (nn.Module,))
    if not issubclass(constructor, kinds):  # type: ignore[arg-type]
        wanted = " or ".join(f"{kind.__module__.split('.')[0]}'s {kind.__name__}" for kind in kinds)
        raise ValueError(f"{path} cannot be a {role or 'part'}: expected a subclass of {wanted}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
