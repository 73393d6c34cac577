"""The directive `explore`: the pages of `pyro-models explore` on some runs, made while the site is built.

.. explore:: pretrained/vae_*
"""

import contextlib
import io
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from inference import Run, RunError
from inference.data.datasets import default_data_root, is_there
from pyro_models_cli.commands.explore import ExploreOptions, explore

ROOT = Path(__file__).parents[2]
DOWNLOADED = ("mnist", "fashion_mnist")


def explored(run: Path, page: Path, site: Path) -> str:
    """What the site shows of a run: its page in a frame, which is written, or why there is none."""
    dataset = Run.open(run).config["dataset"]
    if dataset in DOWNLOADED and not is_there(dataset, default_data_root()):
        return _none(run, f"{dataset} was not on the machine that built this site")
    page.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            explore([run], ExploreOptions(out=str(page), title=run.name), site)
    except RunError as error:
        return _none(run, str(error))
    address = escape(f"{page.parent.name}/{page.name}")
    frame = f'<iframe class="explored" src="{address}" title="{escape(run.name)}" loading="lazy"></iframe>'
    return f'{frame}\n<p><a href="{address}">{escape(run.name)} on a page of its own</a></p>'


def _none(run: Path, why: str) -> str:
    return f"<p>No page of <code>{escape(run.name)}</code>: {escape(why)}.</p>"


class Explored(SphinxDirective):
    """A frame for each run whose folder matches a pattern."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # runs come and go without a change of this page, and the output may be removed
        if self.env.app.builder.format != "html":
            return []
        site = Path(self.env.app.outdir)
        folder = site / self.env.docname
        with contextlib.chdir(ROOT):  # pages name runs as they are given: not by folders of this machine
            runs = sorted(file.parent for file in Path().glob(f"{self.arguments[0]}/config.yaml"))
            parts = [explored(run, folder / f"{run.name}.html", site) for run in runs]
        return [nodes.raw("", part, format="html") for part in parts]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("explore", Explored)
    return {"parallel_read_safe": False}
