"""Train, diagnose and evaluate a VAE for every row of a list, and print the table; rows already made are skipped.

NLL is the negative log-likelihood by importance samples, KL the divergence of the guide from the prior, in nats per
image; active counts the coordinates of the code that are used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    write_rows,
)
from pyro_models_cli.trained import checked_result


@dataclass(frozen=True, kw_only=True)
class ZooOptions(TableOptions):
    """Options of the rows.

    Args:
        list: YAML file that maps names of rows to options of train-vae, or the name of a packaged list.
        common: options of train-vae before each row's own.
        out: folder of the runs, one for each row.
        allow_import: packages of your own whose classes the rows may name.
    """

    list: str = "zoo"
    common: str = "--encoder.hidden [300,300] --decoder.hidden [300,300] --epochs 60"
    out: str = "runs/zoo"
    allow_import: Sequence[str] = ()


def zoo(options: ZooOptions | None = None) -> Sequence[dict[str, Any]]:
    """Make the missing rows and print the table; returns its rows.

    Raises:
        ValueError: if the list, a row or an option is wrong; nothing has been trained then.
        RuntimeError: if making a row fails; the rows made so far are kept.
    """
    options = options or ZooOptions()
    out, file = Path(options.out), packaged(options.list)
    result = checked_result(options.result) if options.result else None
    rows = read_rows(file)
    table = {row["name"]: row for row in rows_in(result, options.num_samples)} if result else {}
    check_row("--common", options.common)
    words = {name: f"{options.common} {row}" for name, row in read_rows(file, options.rows).items()}
    asked = {
        name: parse_row(name, row, out / name, options.data_root, options.allow_import) for name, row in words.items()
    }
    there = {name for name in asked if name in table and is_in(table[name], asked[name])}
    done = {name for name in rows if is_made(out / name, options.num_samples)}
    try_rows({name: row for name, row in asked.items() if name not in there | done})
    for name, row in asked.items():
        if name in there:
            print(f"{name}: already in {result}", flush=True)
        else:
            make_row(row, words[name], options.num_samples)
            done.add(name)
    table |= {name: row_of(out / name, options.num_samples) for name in done}
    in_order = [table[name] for name in rows if name in table]
    print_rows(in_order, options.num_samples, "minutes")
    if result:
        write_rows(in_order, result)
    return in_order


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_options(ZooOptions)
    zoo(made(ZooOptions, parser.parse(argv)))
