"""The command recorded with a run or a result, which anyone can type to repeat it."""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field
from typing import Any

from inference.runs.parts import find_part
from pyro_models_cli.choices import with_defaults
from pyro_models_cli.configuration import as_typed
from pyro_models_cli.options import is_flag, ordered

_LAST = ("out", "overwrite", "data_root", "allow_import")  # the words before these define the run


def own_command() -> str:
    """The command line of this process."""
    program, *arguments = (word.encode(errors="backslashreplace").decode() for word in sys.argv)
    called = program if program.startswith("pyro-models ") else f"python {shlex.quote(program)}"
    return " ".join([called, *map(shlex.quote, arguments)])


def command_of(name: str, options: Any, *positional: object) -> str:
    """The command that gives these options: ``pyro-models evaluate runs/vae --repeats=5``.

    Options at their defaults are left out.
    """
    words = [str(word) for word in positional]
    for entry in sorted(ordered(type(options)), key=lambda entry: entry.name in _LAST):
        value = getattr(options, entry.name)
        if isinstance(value, Mapping):
            words += _words_of_part(entry.name, value, _usual(options, entry))
        elif entry.name != "resume" and (entry.default is MISSING or value != _usual(options, entry)):
            words += _words(entry.name, value, is_flag(type(options), entry))
    return " ".join(["pyro-models", name, *map(shlex.quote, words)])


def _usual(options: Any, entry: Field) -> Any:
    return options.usual(entry) if hasattr(options, "usual") else entry.default


def _words(name: str, value: Any, flag: bool) -> list[str]:
    if flag:
        return [f"--{name}"] * value
    if isinstance(value, list | tuple):
        return [f"--{name}", *map(str, value)] if value else []
    return [as_typed(name, value)]


def _words_of_part(role: str, part: Mapping[str, Any], default: Any) -> list[str]:
    known = find_part(part["class_path"])
    name = known.name if known else part["class_path"]
    own = with_defaults({"class_path": part["class_path"]}, [part["class_path"]])["init_args"]
    given, usual = (json.loads(json.dumps(arguments)) for arguments in (part["init_args"], own))
    changed = {key: value for key, value in given.items() if key not in usual or value != usual[key]}
    return [
        *([] if name == default else [f"--{role}={name}"]),
        *(as_typed(f"{role}.{key}", value) for key, value in changed.items()),
    ]
