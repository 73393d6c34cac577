"""Gather trained runs into one self-contained HTML report with numbered figures and tables."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _cli import Parser, main
from _sections import Figure, Section, Table, section
from _trained import images_of

from inference import Run, RunError, load, set_seed


@dataclass
class Numbering:
    """Gives figures and tables their numbers, and saves the figures."""

    folder: Path
    counts: dict[str, int] = field(default_factory=dict)

    def number(self, kind: str) -> int:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return self.counts[kind]

    def render(self, block: Figure | Table) -> dict[str, Any]:
        from _figures import save

        if isinstance(block, Table):
            return {"kind": "table", "number": self.number("table"), "header": block.header, "rows": block.rows,
                    "caption": block.caption}  # fmt: skip
        number = self.number("figure")
        path = save(block.figure, self.folder / f"figure_{number:02d}_{block.name}.png")
        return {"kind": "figure", "number": number, "caption": block.caption, "name": path.name,
                "data": base64.b64encode(path.read_bytes()).decode()}  # fmt: skip


def report() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of training runs")
    parser.add_argument("--out", type=str, default="report", help="folder for report.html and the figures")
    parser.add_argument("--title", type=str, default="Deep generative models as Pyro programs", help="of the report")
    parser.add_argument("--data_root", type=str | None, default=None, help="folder of the data sets; by default each "
                        "run's own")  # fmt: skip
    parser.add_argument("--allow_import", type=list[str], default=[], help="packages of your own whose classes the "
                        "runs may name, as [mine, other]")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the drawn images")
    options = parser.parse()

    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: give the folder for the report another name")
    numbering = Numbering(out)
    sections = [make_section(Path(path), options, numbering) for path in options.runs]

    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = templates.get_template("report.html").render(title=options.title, sections=sections)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.html").write_text(page, encoding="utf-8")
    print(out / "report.html")


def make_section(path: Path, options: Any, numbering: Numbering) -> dict[str, Any]:
    run = Run.open(path)
    if not run.metrics():
        raise RunError(f"{path} has no metrics yet: train it first")
    pair = load(path, allow=options.allow_import)
    set_seed(options.seed)
    content: Section = section(pair.model, pair, run, *images_of(pair.config, options.data_root))
    return {
        "title": content.title,
        "summary": content.summary,
        "blocks": [numbering.render(block) for block in content.blocks],
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


if __name__ == "__main__":
    main(report)
