"""Gather trained runs into one self-contained HTML report with numbered figures and tables."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference import Pair, Run, RunError, load, set_seed
from inference.system.devices import find_device
from inference.system.files import try_writing, write_whole
from inference.system.progress import Bar
from pyro_models_cli.data import data_again
from pyro_models_cli.options import ComputingOptions
from pyro_models_cli.parser import Parser, made
from pyro_models_cli.trained import check_config


@dataclass(frozen=True, kw_only=True)
class ReportOptions(ComputingOptions):
    """Options of the report.

    Args:
        out: folder for report.html and its figures.
        title: title of the page.
        seed: seed of the drawn images.
    """

    out: str = "report"
    title: str = "Deep generative models as Pyro programs"
    seed: int = 0


def report(runs: Sequence[Path | str], options: ReportOptions | None = None) -> Path:
    """Write a report on runs, in the order given; returns the path of the page.

    Raises:
        RunError, OSError: if a run cannot be read, or the report not written.
    """
    options = options or ReportOptions()
    page = Path(options.out) / "report.html"
    if page.parent.exists() and not page.parent.is_dir():
        raise RunError(f"{page.parent} is a file: give the folder for the report another name")
    loaded = [_loaded(path, options) for path in runs]  # a run that cannot be read is better refused before the work
    try_writing(page)
    numbers: Counter[str] = Counter()
    sections = []
    with Bar("report", len(runs), "runs") as bar:
        for run, pair in loaded:
            bar.desc = f"report on {run.path}"
            sections.append(make_section(run, pair, options, page, numbers))
            bar.update()
    write_whole(page, _rendered(options.title, sections))
    print(page)
    return page


def _rendered(title: str, sections: Sequence[dict[str, Any]]) -> str:
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return templates.get_template("report.html").render(title=title, sections=sections)


def _loaded(path: Path | str, options: ReportOptions) -> tuple[Run, Pair]:
    run = Run.open(path)
    if not run.metrics():
        raise RunError(f"{run.path} has no metrics yet: train it first")
    check_config(run)
    return run, load(run.path, allow=options.allow_import, device=find_device(options.device))


def make_section(run: Run, pair: Pair, options: ReportOptions, page: Path, numbers: Counter[str]) -> dict[str, Any]:
    """What the template needs of one run; its figures are saved, with numbers that continue those before."""
    import pyro_models_cli.report.density_section
    import pyro_models_cli.report.flow_section
    import pyro_models_cli.report.vae_section  # noqa: F401  (these register what is said of their models)
    from pyro_models_cli.explore.page import identity, page_with
    from pyro_models_cli.report.left_out import left_out
    from pyro_models_cli.report.run_data import RunData
    from pyro_models_cli.report.sections import section  # matplotlib is slow to import

    set_seed(options.seed)
    data = data_again(run, options)
    seen = RunData(data.train, data.test).to(find_device(options.device))
    content = section(pair.model, pair, run, seen)
    blocks = []
    for block in content.blocks:
        numbers[block.kind] += 1
        blocks.append(block.render(numbers[block.kind], page))
    return {
        "title": content.title,
        "summary": content.summary,
        "explored": None if (explored := page_with(identity(run, pair), page.parent)) is None else explored.name,
        "blocks": blocks,
        "left_out": left_out(run, pair, seen),
        "assumptions": content.assumptions,
        "environment": environment_rows(run),
        "path": str(run.path),
    }


def environment_rows(run: Run) -> list[tuple[str, str]]:
    environment = run.environment
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items() if number)
    names = ("command", "seed", "commit", "machine", "platform", "python", "started")
    rows = [(name, str(environment.get(name))) for name in names]
    return [*rows, ("training time", f"{run.minutes:.1f} minutes"), ("versions", versions)]


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of training runs, or hf://owner/name")
    parser.add_options(ReportOptions)
    given = parser.parse(argv)
    report(given.runs, made(ReportOptions, given))
