"""Tables of VAEs."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference import Diagnosis
from pyro_models_cli.commands.diagnose import DiagnoseOptions
from pyro_models_cli.commands.zoo import ZooOptions
from pyro_models_cli.recorded import command_of
from pyro_models_cli.row_table import is_in, options_in
from pyro_models_cli.rows import TableOptions, parse_row
from pyro_models_cli.seeds import active_of, bound_of, bound_text, by_name, mean_of
from result_tables.words import machine_of, markdown, with_error


def vae_table(vae: dict[str, Any], source: dict[str, Any]) -> str:
    caption = (
        f"VAE on MNIST, nats per image, {vae['binarisation']} binarisation, {vae['num_test_images']:,} test images, "
        f"mean of {vae['repeats']} repeats ± standard error over repeats; trained in {vae['minutes']:.0f} minutes "
        f"({machine_of(vae)}); the last column is from a course report, for a VAE in plain PyTorch with other layers "
        "and epochs:"
    )
    bounds = {"negative ELBO": (vae["negative_elbo"], source["negative_elbo"])}
    bounds |= {f"negative IWAE, m = {m}": (b, source["negative_iwae"][m]) for m, b in vae["negative_iwae"].items()}
    rows = [(name, f"**{with_error(ours, 3)}**", f"{theirs:.2f}") for name, (ours, theirs) in bounds.items()]
    return markdown(caption, ("", "this project", "the report"), rows)


def zoo_table(zoo: list[dict[str, Any]]) -> str:
    first = zoo[0]
    caption = (
        f"VAEs of two hidden layers of 300 units, trained for {first['epochs']} epochs, and what each row changes in "
        f"the first: nats per image, {first['binarisation']} binarisation, {first['num_test_images']:,} test images, "
        f"NLL the negative log-likelihood by {samples_of(zoo)} importance samples. ± is the standard deviation over "
        "seeds; brackets, where there is one seed, have the standard error over the images, the same ones in all rows. "
        "Every NLL is an upper bound, and k says how tight: it is the median Pareto k of the importance weights of "
        f"{DiagnoseOptions.num_weighted} images, and above {Diagnosis.pareto_k_threshold} these samples are too few, "
        "so that small differences between rows of different k may not be real. Minutes of training "
        f"({_machines_of(zoo)}):"
    )
    return _table_of_rows(zoo, first, caption)


def tried_table(tried: list[dict[str, Any]], zoo: list[dict[str, Any]]) -> str:
    """What was tried besides the rows of the zoo, as changes to the first of these."""
    caption = (
        "What else was tried, good or bad, as changes to the first row of the table of VAEs, in the same units; "
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
    return markdown(caption, header, rows)


def _changes(row: dict[str, Any], first: dict[str, Any]) -> dict[str, str]:
    """The options of a row that are others than the first row's, in the order of the command line."""
    ours, theirs = _typed(row), _typed(first)
    of_others = [name for name in theirs if name not in ours and name.partition(".")[0] in ours]  # of another class
    options = dict.fromkeys((*ours, *(name for name in theirs if name not in of_others)))
    return {name: ours.get(name) or _left_at(row, name) for name in options if ours.get(name) != theirs.get(name)}


def _left_at(row: dict[str, Any], option: str) -> str:
    """What an option was that nobody typed; older rows do not say."""
    part, _, argument = option.partition(".")
    value = (row.get("config") or {}).get(part)
    if argument:
        value = (value or {}).get("init_args", {}).get(argument)
    return "default" if value is None else f"{value}"


def _typed(row: dict[str, Any]) -> dict[str, str]:
    """The options that a row was trained with, except those at their defaults."""
    words = shlex.split(command_of("train-vae", options_in(row)))
    typed = dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
    return {name: value for name, value in typed.items() if name not in ("out", "seed")}


def _machines_of(table: list[dict[str, Any]]) -> str:
    return "; ".join(dict.fromkeys(map(machine_of, table)))


def samples_of(table: list[dict[str, Any]]) -> int:
    """The number of importance samples of a table's log-likelihoods, which is one for all rows."""
    found = {int(key.removeprefix("nll_")) for row in table for key in row if key.startswith("nll_")}
    (samples,) = found or {TableOptions.num_samples}
    return samples


def commands_of_zoo(command: str, table: list[dict[str, Any]], rows: dict[str, str]) -> list[str]:
    """The commands that make a table: one for all rows if they have as many seeds, else one for each number.

    Rows whose options in the list are others by now have the commands that made them.

    Args:
        command: of the list.
        table: its entries.
        rows: the options of each row in the list; where some are not made, the others are named.
    """
    groups: dict[str, list[str]] = {}
    samples, older = samples_of(table), []
    for name, runs in by_name(table).items():
        if not _are_of(runs, rows.get(name)):
            older += [line for run in runs for line in run["command"].split(" && ")]
            continue
        seeds, estimated = len(runs), sum(f"nll_{samples}" in run for run in runs)
        options = [f" --seeds {seeds}"] * (seeds > 1) + [f" --nll_seeds {estimated}"] * (estimated < seeds)
        options += [f" --num_samples {samples}"] * (samples != TableOptions.num_samples)
        groups.setdefault("".join(options), []).append(name)
    chosen = len(groups) > 1 or sum(map(len, groups.values())) < len(rows)
    return [f"{command}{options}" + f" --rows {' '.join(names)}" * chosen for options, names in groups.items()] + older


def _are_of(runs: list[dict[str, Any]], row: str | None) -> bool:
    """Whether runs were made with the options of a row of a list."""
    if row is None:
        return False
    options = parse_row(runs[0]["name"], f"{ZooOptions.common} {row}", Path("unknown"))
    return all(is_in(run, replace(options, seed=run["seed"])) for run in runs)


def headline_of_best(zoo: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """An entry of the row with the smallest negative log-likelihood, and this with its error."""
    bounds = {name: (runs, bound_of(runs, "nll_5000")) for name, runs in by_name(zoo).items()}
    runs, bound = min(((runs, bound) for runs, bound in bounds.values() if bound), key=lambda best: best[1].value)
    if bound.spread is None:
        return runs[0], f"{bound.value:.2f} ± {bound.over_images:.2f} nats"
    return runs[0], f"{bound:.2f} nats, over {bound.seeds} seeds"


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
    return markdown(caption, header, rows)
