"""Configuration files, which may come from anybody: read as plain options, and code that they name refused."""

import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from inference import RunError, read_mapping
from inference.build import is_within

# whose classes a configuration may name: the parts, the objectives, and those that these are of in Pyro
MAY_NAME = ("pyro_models", "inference.objectives", "pyro.infer")
TYPED_ALONE = {"config", "print_config", "resume", "overwrite", "allow_import"}  # on the command line
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def read_configuration(file: str, options: Collection[str], roles: Collection[str], may_name: Collection[str]) -> str:
    """The options in a file as text that a parser reads as nothing else.

    Args:
        file: YAML.
        options: names of the options that it may give.
        roles: those of them that name parts.
        may_name: packages whose classes it may name.

    Raises:
        ValueError: if it is no plain mapping of options, or names other classes.
    """
    try:
        content = read_mapping(Path(file))
    except RunError as error:
        raise ValueError(str(error)) from error
    for name, value in content.items():
        if name in TYPED_ALONE:
            raise ValueError(f"{file} asks for {name}, which is for the command line alone: take it out")
        if name not in options:
            raise ValueError(f"{file} has an option {name!r}, which is not known: --help lists them")
        for text in _texts(value, file, name, mappings=name in roles):
            if name in roles and not re.fullmatch(r"[\w.+-]*", text):
                raise ValueError(f"{file} has {text!r} within {name}: the options of parts are names and numbers")
            if name in roles and _IMPORT_PATH.fullmatch(text) and not is_within(text, tuple(may_name)):
                raise ValueError(
                    f"{file} names {text!r}, which is not part of this project; if you trust that code, "
                    f"allow it with --allow_import {text.split('.')[0]}"
                )
    return yaml.safe_dump(content, default_flow_style=True, width=math.inf)


def packages_named(texts: Collection[str]) -> set[str]:
    """The packages of all import paths in what a person typed, JSON and YAML included."""
    found = set()
    for text in texts:
        try:
            parts = list(_texts(yaml.safe_load(text), "", "", mappings=True))
        except (ValueError, RecursionError, yaml.YAMLError):
            parts = [text]
        found |= {part.split(".")[0] for part in parts if _IMPORT_PATH.fullmatch(part)}
    return found


def _texts(node: Any, file: str, name: str, mappings: bool) -> Iterator[str]:
    """All texts within plain values; mappings are plain where parts are described."""
    if isinstance(node, dict) and mappings and all(isinstance(key, str) and key.isidentifier() for key in node):
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _texts(item, file, name, mappings)
    elif isinstance(node, str):
        yield node
    elif node is not None and not isinstance(node, bool | int | float):
        raise ValueError(f"{file} has {name} of a form that is no option's: expected plain names and numbers")
