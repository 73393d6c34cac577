"""Train, diagnose and evaluate VAEs for every row of a list, and print the table; runs already made are skipped.

NLL is the negative log-likelihood by importance samples, ELBO the evidence lower bound, KL the divergence of the guide
from the prior, in nats per image; active counts the coordinates of the code that are used; k is the median Pareto k of
the importance weights.
Bounds are means over seeds ± their standard deviation; for one seed, brackets have the standard error over images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyro_models_cli.commands.train_vae import TrainVAEOptions
from pyro_models_cli.options import packaged
from pyro_models_cli.parser import Parser, made
from pyro_models_cli.rows import (
    TableOptions,
    check_row,
    is_in,
    is_made,
    make_row,
    parse_row,
    print_rows,
    read_rows,
    row_of,
    rows_in,
    try_rows,
    with_seeds,
    write_rows,
)
from pyro_models_cli.trained import checked_result


@dataclass(frozen=True, kw_only=True)
class ZooOptions(TableOptions):
    """Options of the rows.

    Args:
        list: YAML file that maps names of rows to options of train-vae, or the name of a packaged list.
        common: options of train-vae before each row's own; where a row names another class for a part, its options go.
        seeds: how many seeds to train each row with, from its own on.
        nll_seeds: how many of these to estimate the log-likelihood for, which can take longer than the training; by
            default all.  The others have their ELBO.
        out: folder of the runs, one for each row and seed; by default runs/ and the name of the list.
        allow_import: packages of your own whose classes the rows may name.
    """

    list: str = "zoo"
    common: str = (
        "--encoder MLPEncoder --encoder.hidden [300,300] --decoder MLPDecoder --decoder.hidden [300,300] --epochs 60"
    )
    seeds: int = 1
    nll_seeds: int | None = None
    out: str | None = None
    allow_import: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1; got {self.seeds}")
        if self.nll_seeds is not None and not 0 <= self.nll_seeds <= self.seeds:
            raise ValueError(f"nll_seeds must be from 0 to the number of seeds, {self.seeds}; got {self.nll_seeds}")


@dataclass(frozen=True)
class _Entry:
    """An entry that the table is to have: a row and one of its seeds."""

    name: str
    words: str
    options: TrainVAEOptions
    num_samples: int | None  # of the log-likelihood; None if only the ELBO is asked for

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.options.seed

    def is_in(self, table: dict[tuple[str, int], dict[str, Any]]) -> bool:
        there = table.get(self.key, {})
        has_all = bool(there) and (self.num_samples is None or f"nll_{self.num_samples}" in there)
        return has_all and is_in(there, self.options)


def zoo(options: ZooOptions | None = None) -> Sequence[dict[str, Any]]:
    """Make the missing runs and print the table; returns its entries, one for each row and seed.

    Raises:
        ValueError: if the list, a row or an option is wrong; nothing has been trained then.
        RuntimeError: if making a row fails; the rows made so far are kept.
    """
    options = options or ZooOptions()
    file = packaged(options.list)
    result = checked_result(options.result) if options.result else None
    order = [*read_rows(file)]
    table = {(row["name"], row["seed"]): row for row in rows_in(result, options.num_samples)} if result else {}
    check_row("--common", options.common)
    asked = _asked(options, file)
    there = {entry.key for entry in asked if entry.is_in(table)}
    missing = [entry for entry in asked if entry.key not in there]
    to_make = [entry for entry in missing if not is_made(Path(entry.options.out), entry.num_samples)]
    try_rows({entry.name: entry.options for entry in to_make})
    for entry in asked:
        path = Path(entry.options.out)
        if entry.key in there:
            print(f"{path.name}: already in {result}", flush=True)
        else:
            make_row(entry.options, entry.words, options.num_samples, entry.num_samples is not None)
            table[entry.key] = row_of(entry.name, path, options.num_samples)
    for key in _outdated(table, asked):
        print(f"{key[0]}: the entry of seed {key[1]} was made with other options and leaves the table", flush=True)
        del table[key]
    entries = sorted((row for row in table.values() if row["name"] in order), key=lambda row: row["seed"])
    entries.sort(key=lambda row: order.index(row["name"]))
    print_rows(entries, options.num_samples, "minutes")
    if result:
        write_rows(entries, result)
    return entries


def _asked(options: ZooOptions, file: Path) -> Sequence[_Entry]:
    """All entries that are asked for, row by row."""
    out = Path(options.out or f"runs/{file.stem}")
    estimated = options.seeds if options.nll_seeds is None else options.nll_seeds
    entries = []
    for name, row in read_rows(file, options.rows).items():
        words = f"{options.common} {row}"
        first = parse_row(name, words, out / name, options.data_root, options.allow_import)
        for count, run in enumerate(with_seeds(first, options.seeds)):
            entries.append(_Entry(name, words, run, options.num_samples if count < estimated else None))
    return entries


def _outdated(table: dict[tuple[str, int], dict[str, Any]], asked: Sequence[_Entry]) -> Sequence[tuple[str, int]]:
    """Entries with seeds not asked for, of a row whose options are others by now."""
    rows = {entry.name: entry.options for entry in asked}
    others = {key for key in table if key[0] in rows} - {entry.key for entry in asked}
    return [key for key in others if not is_in(table[key], replace(rows[key[0]], seed=key[1]))]


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_options(ZooOptions)
    zoo(made(ZooOptions, parser.parse(argv)))
