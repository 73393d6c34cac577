"""Write the tables of results into README.md and docs/ from results/*.json."""

import argparse
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from inference import Diagnosis
from pyro_models_cli.commands.diagnose import DiagnoseOptions
from pyro_models_cli.options import packaged
from pyro_models_cli.recorded import command_of
from pyro_models_cli.rows import TableOptions, options_in, read_rows
from pyro_models_cli.seeds import active_of, bound_of, bound_text, by_name, mean_of

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results: written by tools/readme_table.py -->", "<!-- end of results -->"


# tables that one script makes whole
ZOO = "python scripts/zoo.py --result results/vae_zoo_mnist.json"
TRIED = "python scripts/zoo.py --list tried --result results/vae_tried_mnist.json"
COLLAPSE = "python scripts/collapse_study.py --result results/collapse_digits.json"
BENCH = "python benchmarks/run.py"
NAMED = ("prior", "likelihood", "guide", "objective")  # parts of the best VAE that its line names


def headline(results: Path) -> str:
    """The figures that a newcomer looks for."""
    source, vae, zoo = (_read(results / f"{name}.json") for name in ("source_report", "vae_mnist", "vae_zoo_mnist"))
    best, likelihood = headline_of_best(zoo)
    rows = [
        ("VAE, negative ELBO", f"{_with_error(vae['negative_elbo'], 2)} nats", f"{source['negative_elbo']:.2f}"),
        (
            "VAE, negative IWAE, m = 150",
            f"{_with_error(vae['negative_iwae']['150'], 2)} nats",
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
            f"RealNVP, {_part(flow['pair']['model']['init_args']['flow'])}",
            f"{_over_images(flow['bits_per_dim']['8'])} bits/dim",
            "",
        )
        for flow in _flows(results)
    ]
    return _markdown(
        f"MNIST, {vae['num_test_images']:,} test images ({machine_of(vae)}):",
        ("", "this project", "source report"),
        rows,
    )


def table(results: Path) -> str:
    """The results as Markdown."""
    source, vae, zoo = (_read(results / f"{name}.json") for name in ("source_report", "vae_mnist", "vae_zoo_mnist"))
    flows, bench = _flows(results), _read(results / "bench.json")
    commands = [command for record in (vae, *flows) for command in _commands(record)]
    tables = [vae_table(vae, source), zoo_table(zoo), flow_table(flows), bench_table(bench)]
    commands += commands_of_zoo(ZOO, zoo, len(read_rows(packaged("zoo"))))
    tried = []
    if (file := results / "vae_tried_mnist.json").exists():
        tried = [tried_table(_read(file), zoo)]
        commands += commands_of_zoo(TRIED, _read(file), len(read_rows(packaged("tried"))))
    typed = "\n".join(["```bash", *commands, COLLAPSE, BENCH, "```"])
    weights = f"## Weights\n\n{pretrained_table(ROOT / 'pretrained')}"
    return "\n\n".join([*tables, "Commands:", typed, weights, *tried])


def samples_of(table: list[dict[str, Any]]) -> int:
    """The number of importance samples of a table's log-likelihoods, which is one for all rows."""
    found = {int(key.removeprefix("nll_")) for row in table for key in row if key.startswith("nll_")}
    (samples,) = found or {TableOptions.num_samples}
    return samples


def commands_of_zoo(command: str, table: list[dict[str, Any]], rows: int) -> list[str]:
    """The commands that make a table: one for all rows if they have as many seeds, else one for each number.

    Args:
        command: of the list.
        table: its entries.
        rows: how many rows the list has; where some are not made, the others are named.
    """
    groups: dict[str, list[str]] = {}
    samples = samples_of(table)
    for name, runs in by_name(table).items():
        seeds, estimated = len(runs), sum(f"nll_{samples}" in run for run in runs)
        options = [f" --seeds {seeds}"] * (seeds > 1) + [f" --nll_seeds {estimated}"] * (estimated < seeds)
        options += [f" --num_samples {samples}"] * (samples != TableOptions.num_samples)
        groups.setdefault("".join(options), []).append(name)
    chosen = len(groups) > 1 or sum(map(len, groups.values())) < rows
    return [f"{command}{options}" + f" --rows {' '.join(names)}" * chosen for options, names in groups.items()]


def headline_of_best(zoo: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """An entry of the row with the smallest negative log-likelihood, and this with its error."""
    bounds = {name: (runs, bound_of(runs, "nll_5000")) for name, runs in by_name(zoo).items()}
    runs, bound = min(((runs, bound) for runs, bound in bounds.values() if bound), key=lambda best: best[1].value)
    if bound.spread is None:
        return runs[0], f"{bound.value:.2f} ± {bound.over_images:.2f} nats"
    return runs[0], f"{bound:.2f} nats, over {bound.seeds} seeds"


def _commands(record: dict[str, Any]) -> list[str]:
    """What was typed, with the number of repeats, whose default may be another by now."""
    train, evaluate = record["command"].split(" && ")
    if "--repeats" not in evaluate:
        evaluate = evaluate.replace(" --result", f" --repeats {record['repeats']} --result")
    return [train, evaluate]


def _flows(results: Path) -> list[dict[str, Any]]:
    """Records of all flows, the best last."""
    flows = [_read(file) for file in results.glob("realnvp_*_mnist.json")]
    return sorted(flows, key=lambda flow: -flow["bits_per_dim"]["8"]["value"])


def _markdown(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([caption, "", lines[0].replace("|  |", "| |"), "|---" * len(header) + "|", *lines[1:]])


def vae_table(vae: dict[str, Any], source: dict[str, Any]) -> str:
    caption = (
        f"VAE on MNIST, nats per image, {vae['binarisation']} binarisation, {vae['num_test_images']:,} test images, "
        f"mean of {vae['repeats']} repeats ± standard error over repeats; trained in {vae['minutes']:.0f} minutes "
        f"({machine_of(vae)}):"
    )
    bounds = {"negative ELBO": (vae["negative_elbo"], source["negative_elbo"])}
    bounds |= {f"negative IWAE, m = {m}": (b, source["negative_iwae"][m]) for m, b in vae["negative_iwae"].items()}
    rows = [(name, f"**{_with_error(ours, 3)}**", f"{theirs:.2f}") for name, (ours, theirs) in bounds.items()]
    return _markdown(caption, ("", "this project", "source report"), rows)


def zoo_table(zoo: list[dict[str, Any]]) -> str:
    first = zoo[0]
    caption = (
        f"VAEs of two hidden layers of 300 units, trained for {first['epochs']} epochs, and what each row changes in "
        f"the first: nats per image, {first['binarisation']} binarisation, {first['num_test_images']:,} test images, "
        f"NLL the negative log-likelihood by {samples_of(zoo)} importance samples. ± is the standard deviation over "
        "seeds; brackets, where there is one seed, have the standard error over images, which are the same for all "
        f"rows. k is the median Pareto k of the importance weights of {DiagnoseOptions.num_weighted} images; above "
        f"{Diagnosis.pareto_k_threshold} these samples are few, and the true NLL is somewhat lower still. Minutes of "
        f"training ({_machines_of(zoo)}):"
    )
    return _table_of_rows(zoo, first, caption)


def tried_table(tried: list[dict[str, Any]], zoo: list[dict[str, Any]]) -> str:
    """What was tried besides the rows of the zoo, as changes to the first of these."""
    caption = (
        "Whatever else was tried, good or bad, as changes to the first row of the table of VAEs, in the same units; "
        f"NLL by {samples_of(tried)} importance samples, minutes of training ({_machines_of(tried)}):"
    )
    return f"## What was tried\n\n{_table_of_rows(tried, zoo[0], caption)}"


def _table_of_rows(table: list[dict[str, Any]], first: dict[str, Any], caption: str) -> str:
    header = ("", "changes", "seeds", "minutes", "active", "k", "negative ELBO", "NLL")
    rows = []
    for name, runs in by_name(table).items():
        k = mean_of(runs, "pareto_k")
        rows.append(
            (
                name.replace("_", " "),
                ", ".join(f"`{option} {value}`" for option, value in _changes(runs[0], first).items()),
                f"{len(runs)}",
                f"{mean_of(runs, 'minutes'):.0f}",
                active_of(runs),
                "-" if k is None else f"{k:.2f}",
                *(bound_text(runs, bound, ".2f") for bound in ("negative_elbo", f"nll_{samples_of(table)}")),
            )
        )
    return _markdown(caption, header, rows)


def _changes(row: dict[str, Any], first: dict[str, Any]) -> dict[str, str]:
    """The options of a row that are others than the first row's, in the order of the command line."""
    ours, theirs = _typed(row), _typed(first)
    options = dict.fromkeys((*ours, *theirs))
    return {name: ours.get(name, "default") for name in options if ours.get(name) != theirs.get(name)}


def _typed(row: dict[str, Any]) -> dict[str, str]:
    """The options that a row was trained with, except those at their defaults."""
    words = shlex.split(command_of("train-vae", options_in(row)))
    typed = dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
    return {name: value for name, value in typed.items() if name not in ("out", "seed")}


def _machines_of(table: list[dict[str, Any]]) -> str:
    return "; ".join(dict.fromkeys(map(machine_of, table)))


def collapse_table(study: list[dict[str, Any]]) -> str:
    caption = (
        f"Posterior collapse on the {study[0]['dataset']}, nats per image: above the threshold of the weight of the "
        "divergence, ignoring the code is a stable optimum; weighted is the negative ELBO with that weight:"
    )
    header = ("", "threshold", "weight", "active", "KL", "weighted", "negative ELBO", "NLL")
    rows = [
        (
            row["name"],
            *(f"{row[number]:.2f}" for number in ("threshold", "weight")),
            active_of([row]),
            *(f"{row[number]:.2f}" for number in ("kl", "weighted")),
            *(f"{row[bound]['value']:.2f}" for bound in ("negative_elbo", "nll_500")),
        )
        for row in study
    ]
    return _markdown(caption, header, rows)


def flow_table(flows: list[dict[str, Any]]) -> str:
    caption = (
        f"RealNVP on MNIST, bits per dimension, {flows[0]['num_test_images']:,} test images with 256 grey levels: the "
        "importance-weighted bound with 1 and with 8 samples of the dequantisation noise, ± standard error over images:"
    )
    rows = [
        (
            _part(flow["pair"]["model"]["init_args"]["flow"]),
            _part(flow["pair"]["guide"]),
            f"{flow['minutes']:.0f} ({machine_of(flow)})",
            _over_images(flow["bits_per_dim"]["1"]),
            f"**{_over_images(flow['bits_per_dim']['8'])}**",
        )
        for flow in flows
    ]
    return _markdown(caption, ("flow", "dequantisation", "minutes", "1 sample", "8 samples"), rows)


def pretrained_table(folder: Path) -> str:
    """The runs in pretrained/, each with its recorded numbers."""
    rows = []
    for file in sorted(folder.glob("*/evaluation.json")):
        record, run = _read(file), file.parent
        bounds = record.get("bits_per_dim", record["negative_iwae"])
        most = max(bounds, key=int)
        value = _over_images(bounds[most], 3 if "bits_per_dim" in record else 2)
        model, guide = (record["pair"][half] for half in ("model", "guide"))
        parts = [part for part in model["init_args"].values() if isinstance(part, dict)]
        size = sum(weights.stat().st_size for weights in run.glob("checkpoints/*"))
        rows.append(
            (
                f"`{run.name}`",
                record["dataset"],
                "; ".join(map(_part, [*parts, guide])),
                f"{record['epochs']}",
                f"{value} {'bits/dim' if 'bits_per_dim' in record else 'nats'}, m = {most}",
                f"{size / 1e6:.1f}",
            )
        )
    caption = (
        "Weights that come with the repository, in `pretrained/`; the importance-weighted bound with m samples on the "
        "test set, ± standard error over images, as `pyro-models evaluate` with this m gives it:"
    )
    return _markdown(caption, ("", "data", "parts", "epochs", "bound", "MB"), rows)


def bench_table(bench: dict[str, Any]) -> str:
    caption = (
        "Time of this project, as a long run of `fit` takes it, as a share of another program's on the same work, "
        "timed side by side: medians, and the quartiles of the ratios over repeats; at its best a program is compiled, "
        f"with the fused Adam and the faster library of matrix products ({machine_of(bench)}):"
    )
    header = ("work", "this project", "other program", "ms", "ms of the other", "ratio", "goal")
    rows = [
        (
            row["name"],
            row["ours"],
            row["other"],
            *(f"{1000 * row[seconds]:,.1f}" for seconds in ("ours_seconds", "other_seconds")),
            f"**{row['ratio']:.2f}** ({' to '.join(f'{value:.2f}' for value in row['ratio_quartiles'])})",
            "" if row["goal"] is None else f"{row['goal']:.2f}",
        )
        for row in bench["rows"]
    ]
    return _markdown(caption, header, rows)


def scaling_table(bench: dict[str, Any]) -> str:
    """What several processes were measured to do, and what that predicts for more."""
    group = next(group for group in bench["groups"] if "predictions" in group)
    seconds = {name: entry["milliseconds"] / 1000 for name, entry in group["programs"].items()}
    alone = seconds["1 process, 1 thread"]
    measured = [(name, f"{value:.2f}", f"{alone / value:.2f}") for name, value in sorted(seconds.items())]
    predicted = [
        (name, step, *(f"{entry[key]:.2g}" for key in ("step_ms", "all_reduce_ms", "speed_up")))
        for name, steps in group["predictions"].items()
        for step, entry in steps.items()
    ]
    step = (
        f"A step takes {group['step_ms']:.1f} ms in one process; two sum their {group['parameters']:,} gradients in "
        f"{group['all_reduce_ms']:.1f} ms."
    )
    header = ("processes", "a step", "step, ms", "all-reduce, ms", "speed-up")
    parts = (
        _markdown(f"Measured, {group['what']} ({machine_of(bench)}):", ("", "seconds", "speed-up"), measured),
        step,
        _markdown("Computed, for a step as fast as the measured one and for faster ones:", header, predicted),
    )
    return "\n\n".join(parts)


def growth_table(record: dict[str, Any]) -> str:
    """What grows with what, and how fast."""
    rows = []
    for curve in record["curves"]:
        first, last = curve["points"][0], curve["points"][-1]
        seconds = " to ".join(f"{1000 * point['seconds']:,.1f}" for point in (first, last))
        memory = " to ".join(f"{point['peak_mb'] - point['held_mb']:,.0f}" for point in (first, last))
        sizes = f"{first['size']:,} to {last['size']:,} {curve['size']}"
        rows.append((curve["what"], sizes, seconds, f"**{curve['slope']:.2f}**", f"{curve['steepest']:.2f}", memory))
    header = ("work", "from, to", "time, ms", "slope", "steepest", "peak memory without the data, MB")
    caption = (
        "Time from the smallest to the largest size, the slope of its logarithm against that of the work, over all "
        f"sizes and between the two neighbours where it is steepest, and peak memory ({machine_of(record)}):"
    )
    figure = '<img src="../results/growth.png" width="860" alt="time and peak memory against the size of the work">'
    return "\n\n".join([figure, _markdown(caption, header, rows), f"Command: `{record['command']}`"])


def dragging_line(record: dict[str, Any]) -> str:
    """How fast a page answers while its map is dragged."""
    vae, frames, browser = record["vae"], record["frames"], record["browser"]
    return (
        f"The map of a VAE of {vae} units, dragged for {frames} frames in {browser} without a GPU: a frame takes "
        f"**{record['processor_milliseconds']:.1f} ms** of the page's thread, where 60 frames per second leave 16.7. "
        f"{record['frames_per_second']:.0f} frames per second were shown while {record['load']:.1f} processes shared "
        f"each processor ({machine_of(record)})."
    )


def machine_of(record: dict[str, Any]) -> str:
    """Where a record was made; some say "1 threads", others "1 CPU thread(s)"."""
    return re.sub(r"(\d+)( CPU)? thread(s|\(s\))", _threads, record["machine"])


def _threads(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2] or ''} thread{'' if found[1] == '1' else 's'}"


def _read(file: Path) -> Any:
    return json.loads(file.read_text())


def _part(description: dict[str, Any]) -> str:
    """A part's name and those of its options that a person would choose it by."""
    name = description["class_path"].rpartition(".")[2]
    options = description["init_args"]
    shown = ("pairs", "layers", "scales", "couplings", "hidden", "channels", "blocks", "components")
    kept = [f"{key} {options[key]}" for key in shown if options.get(key)]
    kept += ["given the label"] if options.get("context") else []
    return ", ".join([f"`{name}`", *kept])


def _with_error(entry: dict[str, Any], digits: int) -> str:
    return f"{entry['value']:.{digits}f} ± {entry['standard_error']:.{digits}f}"


def _over_images(entry: dict[str, Any], digits: int = 3) -> str:
    return f"{entry['value']:.{digits}f} ± {entry['standard_error_over_images']:.{digits}f}"


def with_table(page: str, text: str) -> str:
    """A page with its results replaced."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def pages() -> dict[Path, str]:
    """The pages that hold results, as they should be."""
    results = ROOT / "results"
    texts = {
        "README.md": headline(results),
        "docs/results.md": table(results),
        "docs/collapse.md": collapse_table(_read(results / "collapse_digits.json")),
        "docs/scaling.md": scaling_table(_read(results / "bench.json")),
    }
    for name, page, table_of in (
        ("growth", "docs/growth.md", growth_table),
        ("dragging", "docs/explore.md", dragging_line),
    ):
        if (results / f"{name}.json").exists():
            texts[page] = table_of(_read(results / f"{name}.json"))
    return {ROOT / name: with_table((ROOT / name).read_text(), text) for name, text in texts.items()}


def write() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for page, content in pages().items():
        page.write_text(content)


if __name__ == "__main__":
    write()
