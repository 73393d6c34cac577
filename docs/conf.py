"""The site: `make docs` builds it in docs/_build/html. The sources are the pages of the whole repository."""

import hashlib
import os
import re
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "extensions")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # for the notebooks
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads would slow small networks down, and change last digits


def state_of(*folders: str) -> str:
    """A digest of what chapters compute with: when the software or a result changes, all of them run again."""
    digest = hashlib.sha256()
    found = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".json")]
    for file in sorted(found):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


project = "pyro-models"
author = "the authors of pyro-models"
html_show_copyright = False
published = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {})
html_baseurl = published.get("Documentation", "")  # also where reports find the course
html_title = "Deep generative models as Pyro programs"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "command_line",
    "explored",
    "notebooks",
    "public_names",
]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "docs/api/*.rst", "tutorial/**.md", "benchmarks/NOTES.md", "C*.md", "SECURITY.md"]
exclude_patterns = [".*", "docs/_build", "**/__pycache__", "runs", "report", "demo", "build", "dist"]
templates_path = ["_templates"]

# pages
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "html_image"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]

# notebooks: run once, kept, and fatal if a cell fails
nb_execution_mode = os.environ.get("DOCS_NOTEBOOKS", "cache")  # "off" for the quick part
nb_execution_cache_path = str(
    DOCS / "_build" / "notebooks" / state_of("inference", "pyro_models", "tutorial", "results", "pretrained")
)
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = False
nb_merge_streams = True
nb_output_stderr = "remove"
nb_number_source_lines = False

# the reference
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # torch says nothing about our forward()
napoleon_use_rtype = False
napoleon_custom_sections = ["Source", "Shapes"]
python_use_unqualified_type_names = True
add_module_names = False

# the look: nothing is fetched from elsewhere
html_theme = "furo"
html_static_path = ["_static", str(files("mathjax") / "static" / "mathjax" / "es5" / "tex-svg.js")]
html_css_files = ["site.css"]
html_additional_pages = {"index": "to_start.html"}
html_copy_source = False
html_show_sphinx = False
mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_exclude = ".linenos, .gp, .go"
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}


def escape_stars_and_bars(app, what, name, obj, options, lines):
    """Docstrings are also read as plain text, where |det J| and (B, *event_shape) need no backslash."""
    for number, line in enumerate(lines):
        line = re.sub(r"(?<!\\)\|det ([^|]*)\|", r"\\|det \1\\|", line)
        lines[number] = re.sub(r"(?<=[(, ])\*(?=\w+\))", r"\\*", line)


def setup(app):
    app.connect("autodoc-process-docstring", escape_stars_and_bars)
