"""Runs the chapters that changed, one for each processor, before pages are read: myst-nb itself would run them in turn.

A chapter that fails is left to myst-nb, which runs it again and names it.
"""

from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

READ_BY_MYST_NB = {"name": "myst_nb_md", "type": "plugin"}
FRONT_MATTER = "---\njupytext:"


def execute(app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
    """Fill the cache of myst-nb."""
    if app.config.nb_execution_mode != "cache":
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    files = [Path(env.doc2path(name)) for name in env.found_docs]
    chapters = [str(file) for file in files if file.read_text().startswith(FRONT_MATTER)]
    for chapter in chapters:
        cache.add_nb_to_project(chapter, read_data=READ_BY_MYST_NB)
    load_executor("local-parallel", cache).run_and_cache(filter_uris=chapters, timeout=app.config.nb_execution_timeout)


def setup(app: Sphinx) -> dict:
    app.connect("env-before-read-docs", execute)
    return {"parallel_read_safe": True}
