"""Make a web page to play with trained models: in any browser, offline, without a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference import Run, load, set_seed
from inference.system.files import try_writing, write_whole
from inference.system.progress import Bar
from pyro_models_cli.data import data_again
from pyro_models_cli.options import ReadingOptions, one_of
from pyro_models_cli.parser import Parser, made
from pyro_models_cli.trained import check_config


@dataclass(frozen=True, kw_only=True)
class ExploreOptions(ReadingOptions):
    """Options of the page.

    Args:
        out: HTML file to write.
        title: title of the page.
        precision: of the weights in the file; float32 doubles its size.
        images: number of test images that the page holds.
    """

    out: str = "explore.html"
    title: str = "Explore trained models"
    precision: str = one_of(("float16", "float32"), "float16")
    images: int = 60


def explore(runs: Sequence[Path | str], options: ExploreOptions | None = None, site: Path | None = None) -> Path:
    """Write a page on runs, side by side in the order given; returns its path.

    Args:
        runs: folders of training runs, or hf://owner/name.
        options: of the page.
        site: folder of the site that the page is part of, if it is.

    Raises:
        ValueError: if an option is out of its range, or the file would replace something else.
        RunError, OSError: if a run cannot be read or put on a page, or the page not written.
    """
    from pyro_models_cli.explore.content import check_side_by_side, run_content
    from pyro_models_cli.explore.page import identity, is_page, rendered
    from pyro_models_cli.explore.values import Constants

    options = options or ExploreOptions()
    page = Path(options.out)
    if page.suffix != ".html":
        raise ValueError(f"--out must be the name of an HTML file, ending in .html; got {options.out}")
    if options.images < 1:
        raise ValueError(f"images must be at least 1; got {options.images}")
    if page.exists() and not is_page(page):
        raise ValueError(f"{page} exists and is not a page of this command: choose another name, or remove it")
    opened = [Run.open(path) for path in runs]
    try_writing(page)
    constants = Constants(options.precision)
    contents: list[dict[str, Any]] = []
    with Bar("explore", len(runs), "runs") as bar:
        for path, run in zip(runs, opened, strict=True):
            check_config(run)
            set_seed(0)  # a page of a run is always the same
            pair = load(run.path, allow=options.allow_import, device="cpu")
            data = data_again(run, options).shown()
            content = run_content(str(path), pair, data, constants, options.images)
            contents.append({**content, "identity": identity(run, pair)})
            check_side_by_side(contents)
            bar.update()
    write_whole(page, rendered(options.title, contents, constants, page, site))
    print(page)
    return page


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of training runs, or hf://owner/name")
    parser.add_options(ExploreOptions)
    given = parser.parse(argv)
    explore(given.runs, made(ExploreOptions, given))
