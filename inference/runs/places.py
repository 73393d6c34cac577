"""Records without the folders of the machine that made them."""

import re
import shlex
from pathlib import PureWindowsPath
from typing import Any

# matches absolute paths, paths in a home folder, and paths that lead out of the current folder
_PLACE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|\.\.[/\\]|.*[/\\]\.\.([/\\]|$)")
_BETWEEN_WORDS = re.compile(r"([\s=,;'\"()\[\]{}]+)")
_WITHIN_WORD = re.compile(r"([=,;'\"()\[\]{}][\s=,;'\"()\[\]{}]*)")  # a folder's name may hold spaces


def without_folders(value: Any) -> Any:
    """Replace paths in a record by the names they end in, if they are absolute or lead out of the current folder.

    In recorded commands each word is looked at.  Other relative paths, and addresses on the Hub, stay.

    Example:
        >>> without_folders({"command": "python /home/me/train.py --out runs/vae", "dataset": "/home/me/my faces.npy"})
        {'command': 'python train.py --out runs/vae', 'dataset': 'my faces.npy'}
    """
    if isinstance(value, dict):
        return {key: _of_command(v) if key == "command" else without_folders(v) for key, v in value.items()}
    if isinstance(value, list):
        return [without_folders(entry) for entry in value]
    return _name(value) if isinstance(value, str) and _PLACE.match(value) else _of_parts(value, _BETWEEN_WORDS)


def _of_command(command: Any) -> Any:
    """Replace the paths in a command line; one without any is returned unchanged."""
    if not isinstance(command, str):
        return command
    words = shlex.shlex(command, posix=True, punctuation_chars=False)
    words.whitespace_split, words.escape, words.commenters = True, "", ""
    try:
        typed = list(words)
    except ValueError:  # it was recorded without quotes
        typed = command.split()
    cut = [_of_word(word) for word in typed]
    return command if cut == typed else " ".join(word if word == "&&" else shlex.quote(word) for word in cut)


def _of_word(word: str) -> str:
    option, equals, value = word.partition("=")
    if option.startswith("--") and equals and _PLACE.match(value):
        return f"{option}={_name(value)}"
    return _name(word) if _PLACE.match(word) else _of_parts(word, _WITHIN_WORD)


def _of_parts(text: Any, between: re.Pattern[str]) -> Any:
    """A text, such as a list in brackets, whose parts are cut."""
    if not isinstance(text, str):
        return text
    return "".join(_name(part) if _PLACE.match(part) else part for part in between.split(text))


def _name(path: str) -> str:
    return PureWindowsPath(path).name or "."
