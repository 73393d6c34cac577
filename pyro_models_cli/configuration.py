"""Configuration files. They may come from a stranger, so they hold only what one could type on the command line."""

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from inference import RunError
from inference.runs.build import check_may_import
from inference.runs.parts import find_part
from inference.runs.reading import read_mapping

TYPED_ALONE = {"help", "config", "print_config", "resume", "overwrite", "allow_import"}  # on the command line
_ALONE_IN = {"model": "train-vae", "flow": "train-realnvp"}  # commands by a part that only they have
_PLAIN = str | int | float | None  # and bool, which is an int


class Configuration:
    """The options in a file.

    Args:
        file: YAML, such as a run's config.yaml.
        options: names of the options it may set.
        roles: the options that name parts.
        allowed: packages whose classes it may name, besides this project's parts.

    Raises:
        ValueError: if the file is not a plain mapping of options, or names other classes.
    """

    def __init__(
        self, file: str | Path, options: Collection[str], roles: Collection[str], allowed: Sequence[str]
    ) -> None:
        self.file = file
        self.parts: dict[str, dict[str, Any]] = {}  # {"class_path": ..., "init_args": ...} by role
        self.plain: dict[str, Any] = {}
        try:
            content = read_mapping(Path(file))
        except RunError as error:
            raise ValueError(str(error)) from error
        for name, value in content.items():
            if name in TYPED_ALONE:
                raise ValueError(f"{file} sets {name}, which belongs on the command line: remove it")
            if name in roles:
                self.parts[name] = self._part(name, value, allowed)
            elif name in _ALONE_IN:
                raise ValueError(f"{file} describes a run of {_ALONE_IN[name]}: use that command")
            elif name not in options:
                raise ValueError(f"{file} sets {name!r}, which this command does not know: --help lists its options")
            elif not _is_plain(value):
                raise ValueError(f"{file} must set {name} to plain names and numbers")
            else:
                self.plain[name] = value
        self.plain.pop("out", None)  # only the command line says where to write

    def _part(self, role: str, value: Any, allowed: Sequence[str]) -> dict[str, Any]:
        described = {"class_path": value} if isinstance(value, str) else value
        path = described.get("class_path") if isinstance(described, dict) else None
        if not isinstance(path, str) or not described.keys() <= {"class_path", "init_args"}:
            raise ValueError(f"{self.file} must describe its {role} by class_path and init_args only")
        try:
            if find_part(path) is None:
                check_may_import(path, allowed)
        except ValueError as error:
            raise ValueError(f"{self.file}, {role}: {error}") from error
        arguments = described.get("init_args") or {}
        if not isinstance(arguments, dict) or not all(_is_plain(item) for item in arguments.values()):
            raise ValueError(f"{self.file} must give the options of its {role} as plain names and numbers")
        odd = [name for name in arguments if not name.isidentifier()]
        if odd:
            raise ValueError(f"{self.file} gives its {role} the option {odd[0]!r}, which cannot exist")
        return {"class_path": path, "init_args": arguments}


def _is_plain(value: Any) -> bool:
    """Whether a value stands for itself: text that YAML would parse into something else does not."""
    if isinstance(value, list):
        return all(not isinstance(item, list) and _is_plain(item) for item in value)
    return isinstance(value, _PLAIN) and not (isinstance(value, str) and value.lstrip()[:1] in set("[{&*!|>@`%"))


def config_of(options: dict[str, Any], roles: Collection[str]) -> dict[str, Any]:
    """Options as a configuration file holds them: parts first, without unset options and those of one command only."""
    plain = json.loads(json.dumps(options))
    order = [*roles, *(name for name in plain if name not in roles)]
    return {name: plain[name] for name in order if plain[name] not in (None, "") and name not in TYPED_ALONE}


def as_typed(name: str, value: Any) -> str:
    """The command-line word that sets an option to a plain value."""
    return f"--{name}={value if isinstance(value, str) else _text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}[repr(value)]
    return json.dumps(value)
