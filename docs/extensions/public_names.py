"""The directive `public-names`: the reference of what a package exports from some of its folders.

.. public-names:: pyro_models
    :from: guides models
"""

from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def names_in(package: str, folders: list[str]) -> list[tuple[str, Any]]:
    """The public names of a package that are defined in these folders, folder by folder."""
    exported = import_module(package)
    found = [(name, getattr(exported, name)) for name in exported.__all__]
    homes = [f"{package}.{folder}." for folder in folders]
    return [(name, value) for home in homes for name, value in found if f"{value.__module__}.".startswith(home)]


class PublicNames(SphinxDirective):
    """Autodoc's entry for each name; for pages in reStructuredText."""

    required_arguments = 1
    option_spec = {"from": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        entries = [
            f".. {'autoclass' if isinstance(value, type) else 'autofunction'}:: {package}.{name}\n"
            for name, value in names_in(package, self.options["from"].split())
        ]
        return self.parse_text_to_nodes("\n".join(entries), allow_section_headings=False)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public-names", PublicNames)
    return {"parallel_read_safe": True}
