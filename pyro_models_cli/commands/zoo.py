"""Train, diagnose and evaluate VAEs for every row of a list, and print the table; runs already made are skipped.

NLL is the negative log-likelihood by importance samples, ELBO the evidence lower bound, KL the divergence of the guide
from the prior, in nats per image; active counts the coordinates of the code that are used; k is the median Pareto k of
the importance weights.
Bounds are means over seeds ± their standard deviation; for one seed, brackets have the standard error over images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyro_models_cli.commands.train_vae import TrainVAEOptions
from pyro_models_cli.options import packaged
from pyro_models_cli.parser import Parser, made
from pyro_models_cli.row_table import Entry, Key, is_in, print_rows, row_of, rows_in, write_rows
from pyro_models_cli.rows import (
    TableOptions,
    check_folder,
    check_row,
    data_of_row,
    is_made,
    make_row,
    parse_row,
    read_rows,
    try_rows,
    with_seeds,
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
        super().__post_init__()
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1; got {self.seeds}")
        if self.nll_seeds is not None and not 0 <= self.nll_seeds <= self.seeds:
            raise ValueError(f"nll_seeds must be from 0 to the number of seeds, {self.seeds}; got {self.nll_seeds}")


@dataclass(frozen=True)
class _Asked:
    """An entry that the table is to have: a row and one of its seeds."""

    name: str
    words: str
    options: TrainVAEOptions
    num_samples: int
    likelihood: bool  # whether to estimate it; else the ELBO is all that is asked for
    data: str | None  # their SHA-256

    @property
    def key(self) -> Key:
        return self.name, self.options.seed

    def is_in(self, table: dict[Key, Entry]) -> bool:
        there = table.get(self.key, {})
        has_all = bool(there) and (not self.likelihood or f"nll_{self.num_samples}" in there)
        return has_all and is_in(there, self.options, self.data)

    def make(self) -> Entry:
        """Make what is missing of the run; returns its entry."""
        make_row(self.options, self.words, self.num_samples, self.likelihood)
        return row_of(self.name, Path(self.options.out), self.num_samples)


def zoo(options: ZooOptions | None = None) -> Sequence[Entry]:
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
    outdated = _outdated(table, asked)
    for entry in missing:
        check_folder(entry.options)
    try_rows({e.name: e.options for e in missing if not is_made(e.options, e.num_samples, e.likelihood)})
    for entry in asked:
        if entry.key in there:
            print(f"{Path(entry.options.out).name}: already in {result}", flush=True)
            continue
        table[entry.key] = entry.make()
        if result:
            write_rows([table[entry.key]], result, order)
    for key in outdated:
        print(f"{key[0]}: the entry of seed {key[1]} had other options or data and leaves the table", flush=True)
    if result:
        write_rows([], result, order, [table[key] for key in outdated])
    entries = sorted((table[k] for k in table.keys() - outdated if k[0] in order), key=lambda row: row["seed"])
    entries.sort(key=lambda row: order.index(row["name"]))
    print_rows(entries, options.num_samples, "minutes")
    return entries


def _asked(options: ZooOptions, file: Path) -> Sequence[_Asked]:
    """All entries that are asked for, row by row."""
    out = Path(options.out or f"runs/{file.stem}")
    estimated = options.seeds if options.nll_seeds is None else options.nll_seeds
    asked = []
    for name, row in read_rows(file, options.rows).items():
        words = f"{options.common} {row}"
        first = parse_row(name, words, out / name, options.data_root, options.allow_import)
        data = data_of_row(first)
        for count, run in enumerate(with_seeds(first, options.seeds)):
            asked.append(_Asked(name, words, run, options.num_samples, count < estimated, data))
    places = [entry.options.out for entry in asked]
    if twice := sorted({place for place in places if places.count(place) > 1}):
        raise ValueError(f"two rows would have the folder {twice[0]}, one with a later seed: rename one of them")
    return asked


def _outdated(table: dict[Key, Entry], asked: Sequence[_Asked]) -> list[Key]:
    """Entries with seeds not asked for, of a row whose options or data are others by now."""
    rows = {entry.name: entry for entry in asked}
    others = {key for key in table if key[0] in rows} - {entry.key for entry in asked}
    now = {key: (replace(rows[key[0]].options, seed=key[1]), rows[key[0]].data) for key in others}
    return [key for key in others if not is_in(table[key], *now[key])]


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_options(ZooOptions)
    zoo(made(ZooOptions, parser.parse(argv)))
