"""Gather trained runs into one self-contained HTML report with numbered figures and tables."""

from collections import Counter
from pathlib import Path
from typing import Any

from inference import Run, RunError, load, set_seed
from inference.system.devices import find_device
from inference.system.files import try_writing, write_whole
from inference.system.progress import Bar
from pyro_models_cli.parser import Parser
from pyro_models_cli.trained import add_reading_options, check_config, images_of


def command() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of training runs")
    parser.add_argument("--out", type=str, default="report", help="folder for report.html and the figures")
    parser.add_argument("--title", type=str, default="Deep generative models as Pyro programs", help="of the report")
    add_reading_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the drawn images")
    options = parser.parse()

    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: give the folder for the report another name")
    for path in options.runs:
        Run.open(path)
    try_writing(out / "report.html")
    numbers: Counter[str] = Counter()
    sections = []
    with Bar("report", len(options.runs), "runs") as bar:
        for path in options.runs:
            bar.desc = f"report on {path}"
            sections.append(make_section(Path(path), options, numbers))
            bar.update()

    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = templates.get_template("report.html").render(title=options.title, sections=sections)
    write_whole(out / "report.html", page)
    print(out / "report.html")


def make_section(path: Path, options: Any, numbers: Counter[str]) -> dict[str, Any]:
    """What the template needs of one run; its figures are saved, and numbered on from those before."""
    import pyro_models_cli.report.flow_section as _flow_section  # noqa: F401  (these bring matplotlib, and say what is known of their models)
    import pyro_models_cli.report.vae_section as _vae_section  # noqa: F401
    from pyro_models_cli.report.sections import section

    run = Run.open(path)
    if not run.metrics():
        raise RunError(f"{path} has no metrics yet: train it first")
    check_config(run)
    device = find_device(options.device)
    pair = load(path, allow=options.allow_import, device=device)
    set_seed(options.seed)
    content = section(
        pair.model, pair, run, *(images.to(device) for images in images_of(pair.config, options.data_root))
    )
    blocks = []
    for block in content.blocks:
        numbers[block.kind] += 1
        blocks.append(block.render(numbers[block.kind], Path(options.out)))
    return {
        "title": content.title,
        "summary": content.summary,
        "blocks": blocks,
        "assumptions": content.assumptions,
        "environment": environment_rows(run),
        "path": str(path),
    }


def environment_rows(run: Run) -> list[tuple[str, str]]:
    environment = run.environment
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items() if number)
    names = ("command", "seed", "commit", "machine", "platform", "python", "started")
    rows = [(name, str(environment.get(name))) for name in names]
    return [*rows, ("training time", f"{run.minutes:.1f} minutes"), ("versions", versions)]
