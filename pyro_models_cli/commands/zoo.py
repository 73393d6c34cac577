"""Train, diagnose and evaluate one VAE for every row of a list, and write the table; rows already made are skipped."""

from pathlib import Path

from pyro_models_cli.parser import Parser
from pyro_models_cli.rows import (
    check_row,
    is_made,
    is_of,
    make_row,
    print_rows,
    read_rows,
    row_of,
    rows_in,
    try_rows,
    write_rows,
)
from pyro_models_cli.trained import checked_result

ROWS = Path(__file__).parents[1] / "configs" / "zoo.yaml"
COMMON = "--encoder.hidden [300,300] --decoder.hidden [300,300] --epochs 60"


def command() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--list", type=str, default=str(ROWS), help="YAML file: names of rows, options of train_vae.py")
    parser.add_argument("--rows", type=str, nargs="+", default=None, help="make only these")
    parser.add_argument("--common", type=str, default=COMMON, help="options of train_vae.py before each row's own")
    parser.add_argument("--out", type=str, default="runs/zoo", help="folder of the runs, one a row")
    parser.add_argument("--result", type=str | None, default=None, help="file for the table of all rows made so far")
    parser.add_argument("--data_root", type=str | None, default=None, help="folder of the data sets")
    parser.add_argument("--num_samples", type=int, default=5000, help="of the estimate of the log-likelihood")
    own = "packages of your own that the rows may name"
    parser.add_argument("--allow_import", type=str, nargs="+", default=[], help=own)
    options = parser.parse()

    out = Path(options.out)
    result = checked_result(options.result) if options.result else None
    rows = read_rows(Path(options.list))
    table = {row["name"]: row for row in rows_in(result, options.num_samples)} if result else {}
    check_row("--common", options.common)
    asked = {name: f"{options.common} {rows[name]}" for name in read_rows(Path(options.list), options.rows)}
    there = {name for name in asked if name in table and is_of(table[name]["command"], asked[name], out / name)}
    made = {name for name in asked if is_made(out / name, options.num_samples)}
    try_rows({n: row for n, row in asked.items() if n not in there | made}, options.data_root, options.allow_import)
    for name, row in asked.items():
        if name in there:
            print(f"{name}: in {result} already", flush=True)
        else:
            make_row(out / name, row, options.data_root, options.num_samples, options.allow_import)
    table |= {
        name: row_of(out / name, options.num_samples) for name in rows if is_made(out / name, options.num_samples)
    }
    in_order = [table[name] for name in rows if name in table]
    print_rows(in_order, options.num_samples, "minutes")
    if result:
        write_rows(in_order, result)
