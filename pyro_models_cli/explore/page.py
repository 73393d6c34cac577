"""One HTML file that holds programs, styles and numbers, and asks the network for nothing."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import jinja2

from inference import Pair, Run
from pyro_models_cli.course import CHAPTERS, chapter_on
from pyro_models_cli.explore.values import Constants

FOLDER = Path(__file__).parent / "page"
SCRIPTS = ("run", "draw", "state", "parts", "quantities", "vae", "weights", "flow", "plane", "main")
MARK = "<!doctype html><!-- made by pyro-models explore -->"


def rendered(
    title: str, runs: Sequence[dict[str, Any]], constants: Constants, page: Path, site: Path | None = None
) -> str:
    """The page at a path, perhaps in the folder of a site; its policy lets these scripts and styles act, and nothing
    that strings of a run may hold."""
    script = "\n".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n{script}'
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    chapters = {chapter: chapter_on(chapter, page, site) for chapter in CHAPTERS}
    content = {"runs": runs, "constants": constants.packed(), "chapters": chapters}
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return templates.get_template("page.html").render(
        mark=MARK,
        title=title,
        identities=[run["identity"] for run in runs if "identity" in run],
        script=script,
        style=style,
        content=_harmless(content),
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def identity(run: Run, pair: Pair) -> str:
    """A digest that tells the weights of a run from those of other runs and epochs."""
    known = [run.environment.get("id"), run.environment.get("started"), pair.epoch]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def page_with(wanted: str, folder: Path) -> Path | None:
    """A page in a folder that holds the run of this :func:`identity`, if there is one."""
    for file in sorted(folder.glob("*.html")):
        if is_page(file):
            with file.open("rb") as content:
                held = re.search(rb'<meta name="runs" content="([0-9a-f ]*)">', content.read(10_000))
            if held and wanted.encode() in held[1].split():
                return file
    return None


def is_page(path: Path) -> bool:
    """Whether a file was made by :func:`rendered`."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()


def _harmless(content: Any) -> str:
    """JSON in which nothing can end the element that holds it."""
    text = json.dumps(content, default=_plain, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _plain(part: Any) -> Any:
    if is_dataclass(part) and not isinstance(part, type):
        return asdict(part)
    raise TypeError(f"{type(part).__name__} has no JSON")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
