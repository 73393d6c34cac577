"""How tables and their cells are written."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def markdown(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A caption and a table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([caption, "", lines[0].replace("|  |", "| |"), "|---" * len(header) + "|", *lines[1:]])


def read(file: Path) -> Any:
    """What a record holds."""
    return json.loads(file.read_text())


def machine_of(record: dict[str, Any]) -> str:
    """Where a record was made; some say "1 threads", others "1 CPU thread(s)"."""
    return re.sub(r"(\d+)( CPU)? thread(s|\(s\))", _threads, record["machine"])


def _threads(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2] or ''} thread{'' if found[1] == '1' else 's'}"


def name_of(description: dict[str, Any]) -> str:
    return str(description["class_path"]).rpartition(".")[2]


def part_text(description: dict[str, Any]) -> str:
    """A part's name and those of its options that a person would choose it by."""
    name = name_of(description)
    options = description["init_args"]
    shown = ("pairs", "layers", "scales", "couplings", "hidden", "channels", "blocks", "components")
    kept = [f"{key} {options[key]}" for key in shown if options.get(key)]
    kept += ["given the label"] if options.get("context") else []
    return ", ".join([f"`{name}`", *kept])


def with_error(entry: dict[str, Any], digits: int) -> str:
    """A value ± its standard error over repeats."""
    return f"{entry['value']:.{digits}f} ± {entry['standard_error']:.{digits}f}"


def over_images(entry: dict[str, Any], digits: int = 3) -> str:
    """A value ± its standard error over images."""
    return f"{entry['value']:.{digits}f} ± {entry['standard_error_over_images']:.{digits}f}"
