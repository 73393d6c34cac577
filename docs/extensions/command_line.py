"""The directive `commands`: what --help says of every command, taken from the parsers while the site is built."""

import contextlib
import io
import os
import sys

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pyro_models_cli.start import COMMANDS, HELP, pyro_models


def help_of(command: str) -> str:
    """The help text of one command, 90 characters wide."""
    argv, columns, out = sys.argv, os.environ.get("COLUMNS"), io.StringIO()
    sys.argv, os.environ["COLUMNS"] = ["pyro-models", command, "--help"], "90"
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            pyro_models()
    finally:
        sys.argv = argv
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return out.getvalue()


class Commands(SphinxDirective):
    """A list of the commands, then a section for each with its help text."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = [self._text(HELP)]
        for command, purpose in COMMANDS.items():
            section = nodes.section(ids=[command], names=[command])
            section += nodes.title(text=command)
            section += nodes.paragraph(text=f"{purpose[0].upper()}{purpose[1:]}.")
            section += self._text(help_of(command))
            found.append(section)
        return found

    def _text(self, text: str) -> nodes.literal_block:
        block = nodes.literal_block(text, text.strip("\n"))
        block["language"] = "text"
        return block


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": False}
