"""Write the tables of results into README.md and docs/ from results/*.json."""

import argparse
import re
from pathlib import Path
from typing import Any

from result_tables.flows import best_flows, flow_table, flows_in
from result_tables.speed import bench_table, dragging_line, growth_table, scaling_table
from result_tables.vaes import (
    collapse_table,
    commands_of_zoo,
    headline_of_best,
    tried_table,
    vae_table,
    zoo_table,
)
from result_tables.weights import pretrained_table
from result_tables.words import machine_of, markdown, name_of, over_images, part_text, read

from pyro_models_cli.options import packaged
from pyro_models_cli.rows import read_rows

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results: written by tools/readme_table.py -->", "<!-- end of results -->"

# tables that one script makes whole
ZOO = "python scripts/zoo.py --result results/vae_zoo_mnist.json"
TRIED = "python scripts/zoo.py --list tried --result results/vae_tried_mnist.json"
COLLAPSE = "python scripts/collapse_study.py --result results/collapse_digits.json"
BENCH = "python benchmarks/run.py"
NAMED = ("prior", "decoder", "likelihood", "guide", "objective")  # parts of the best VAE that its line names


def pages() -> dict[Path, str]:
    """The pages that hold results, as they should be."""
    results = ROOT / "results"
    texts = {
        "README.md": headline(results),
        "docs/results.md": table(results),
        "docs/collapse.md": collapse_table(read(results / "collapse_digits.json")),
        "docs/scaling.md": scaling_table(read(results / "bench.json")),
    }
    for name, page, table_of in (
        ("growth", "docs/growth.md", growth_table),
        ("dragging", "docs/explore.md", dragging_line),
    ):
        if (results / f"{name}.json").exists():
            texts[page] = table_of(read(results / f"{name}.json"))
    return {ROOT / name: with_table((ROOT / name).read_text(), text) for name, text in texts.items()}


def headline(results: Path) -> str:
    """The figures that a newcomer looks for."""
    source, vae, zoo = (read(results / f"{name}.json") for name in ("source_report", "vae_mnist", "vae_zoo_mnist"))
    best, likelihood = headline_of_best(zoo)
    rows = [
        ("VAE, negative ELBO", f"{over_images(vae['negative_elbo'], 2)} nats", f"{source['negative_elbo']:.2f}"),
        (
            "VAE, negative IWAE, m = 150",
            f"{over_images(vae['negative_iwae']['150'], 2)} nats",
            f"{source['negative_iwae']['150']:.2f}",
        ),
        (
            f"best VAE ({', '.join(f'`{best[part]}`' for part in NAMED)}), negative log-likelihood",
            likelihood,
            "",
        ),
    ]
    rows += [
        (
            f"RealNVP, {part_text(flow['pair']['model']['init_args']['flow'])}; `{name_of(flow['pair']['guide'])}`",
            f"{over_images(flow['bits_per_dim']['8'])} bits/dim",
            "",
        )
        for flow in best_flows(results)
    ]
    return markdown(
        f"MNIST, {vae['num_test_images']:,} test images, ± standard error over images ({machine_of(vae)}); the last "
        "column is from a course report, for a VAE in plain PyTorch with other layers and epochs:",
        ("", "this project", "the report"),
        rows,
    )


def table(results: Path) -> str:
    """The results as Markdown."""
    source, vae, zoo = (read(results / f"{name}.json") for name in ("source_report", "vae_mnist", "vae_zoo_mnist"))
    flows, bench = flows_in(results), read(results / "bench.json")
    commands = [command for record in (vae, *flows) for command in _commands(record)]
    tables = [vae_table(vae, source), zoo_table(zoo), flow_table(flows), bench_table(bench)]
    commands += commands_of_zoo(ZOO, zoo, read_rows(packaged("zoo")))
    tried = []
    if (file := results / "vae_tried_mnist.json").exists():
        tried = [tried_table(read(file), zoo)]
        commands += commands_of_zoo(TRIED, read(file), read_rows(packaged("tried")))
    typed = "\n".join(["```bash", *commands, COLLAPSE, BENCH, "```"])
    weights = f"## Weights\n\n{pretrained_table(ROOT / 'pretrained')}"
    return "\n\n".join([*tables, "Commands:", typed, weights, *tried])


def _commands(record: dict[str, Any]) -> list[str]:
    """What was typed, with the number of repeats, whose default may be another by now."""
    train, evaluate = re.sub(r" --(data_root \S+|overwrite)", "", record["command"]).split(" && ")
    if "--repeats" not in evaluate:
        evaluate = evaluate.replace(" --result", f" --repeats {record['repeats']} --result")
    trained, evaluated = re.findall(r"--out (\S+)", train)[0], evaluate.split()[2]
    copied = [f"python tools/pretrained.py {trained} {Path(evaluated).name} --half"] * (evaluated != trained)
    return [train, *copied, evaluate]


def with_table(page: str, text: str) -> str:
    """A page with its results replaced."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def write() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for page, content in pages().items():
        page.write_text(content)


if __name__ == "__main__":
    write()
