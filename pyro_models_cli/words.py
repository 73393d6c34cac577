"""Messages of libraries and docstrings, reworded for the command line."""

import argparse
import re
from typing import Any

import jsonargparse


def one_line(text: str) -> str:
    """The text without line breaks, with control characters made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a string", "NoneType": "null"}


def plainly(message: str) -> str:
    """An error of the parser in plain words."""
    message = re.sub(r'Parser key "([\w.]+)":\s*', r"--\1: ", message)
    message = re.sub(r"(?:an? )?<class '(int|float|bool|str|NoneType)'>", lambda m: _WORDS[m[1]], message)
    message = re.sub(r"(?:an? )?<class '(?:list|collections\.abc\.Sequence)'>", "a list such as [100,100]", message)
    message = re.sub(r"an? typing\.Literal\[(.*?)\]", r"one of \1", message)
    message = re.sub(
        r"Does not validate against any of the Union subtypes\s+Subtypes: \[(.*?)\]\s+Errors:.*Given value: (.*)",
        lambda found: f"Expected {found[1].replace(', ', ' or ')}. Got value: {found[2]}",
        message,
        flags=re.DOTALL,
    )
    message = re.sub(r"(the following arguments are required: )(?!runs?\b|repository$)(\w)", r"\1--\2", message)
    if message.startswith("unrecognized arguments: --") and "." in message.split()[2]:
        role, option = message.split()[2][2:].partition("=")[0].split(".")[:2]
        from inference.runs.parts import parts  # which imports every part

        having = [part.name for part in parts() if part.role == role and option in part.options]
        whose = f", which is of {' and '.join(having)}" if having else ""
        return f"{message}: the chosen {role} has no such option{whose}; --{role}.help NAME lists those of each"
    return message


def unmarked(text: str) -> str:
    """A docstring's text as help: no markup, no references that Pyro appends to the last argument, null for None."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?([^`]*)`", r"\1", text.partition("\nReferences")[0])
    text = re.sub(r"\bNone\b", "null", text.replace("`", "").replace(" Defaults to False.", ""))
    return " ".join(text.split())


class Formatter(jsonargparse.DefaultHelpFormatter):
    """Help that gives every option's meaning and default."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").rstrip(". ")
        if action.required:
            return f"{text} (required)"
        if action.default == argparse.SUPPRESS or "default" in text:
            return text
        return f"{text} (default: {_shown(action)})"


def _shown(action: argparse.Action) -> str:
    """A default as a person would type it."""
    value: Any = action.default
    if action.nargs == 0:
        return "on" if value else "off"
    if value is None or (value != value) or value in ([], ()):
        return "none"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) if action.nargs else f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
