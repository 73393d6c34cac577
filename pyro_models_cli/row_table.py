"""The table of a list of rows: a JSON file with an entry for each row and seed."""

import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

from filelock import FileLock

from inference import Run, RunError
from inference.system.files import write_whole
from pyro_models_cli.commands.train_vae import TrainVAEOptions
from pyro_models_cli.rows import NOT_OF_A_ROW, check_row, is_of, parse_row
from pyro_models_cli.seeds import active_of, bound_text, by_name, mean_of

Entry = dict[str, Any]
Key = tuple[str, int]  # name and seed

_LARGEST = 1e30  # a number in a table


def options_in(row: dict[str, Any], allow: Sequence[str] = ()) -> TrainVAEOptions:
    """The options that a row of a table was trained with, by the command it records; its folder is not among them.

    Raises:
        ValueError: if the command is another, or its options are wrong.
    """
    typed = shlex.split(row["command"].partition(" && ")[0])
    after = [*dropwhile(lambda word: word != "train-vae" and not word.endswith("train_vae.py"), typed)]
    words = shlex.join(takewhile(lambda word: not word.startswith("--out"), after[1:])) if after else "--help"
    check_row(row["name"], words)
    return parse_row(row["name"], words, Path("unknown"), allow=allow)


def is_in(row: dict[str, Any], options: TrainVAEOptions, data: str | None = None) -> bool:
    """Whether a row of a table was made with these options, and data of this SHA-256 if it is given.

    Its command leaves out what was a default then; older rows have nothing else.
    """
    try:
        config = row.get("config")
        recorded = config if isinstance(config, dict) else options_in(row, options.allow_import).config
        return is_of(recorded, options) and data in (None, row.get("sha256"))
    except (ValueError, TypeError):
        return False


def row_of(name: str, path: Path, num_samples: int) -> Entry:
    """One entry of the table, from the files of a run; without the log-likelihood where it was not estimated.

    Raises:
        RunError: if a file of the run is missing or damaged.
    """
    run = Run.open(path)
    evaluation = run.evaluation() or {}
    diagnosis = json.loads((path / "diagnosis.json").read_text())
    epoch = evaluation.get("epochs")  # whose weights were evaluated
    last = next((row for row in run.metrics() if row["epoch"] == epoch and "test_kl" in row), None)
    if last is None:
        raise RunError(f"{path} has no evaluation, or its metrics.csv lacks epoch {epoch}: evaluate it again")
    likelihood = evaluation["negative_iwae"].get(str(num_samples))
    parts = ("model", "prior", "guide", "decoder", "likelihood", "objective")
    return {
        "name": name,
        **{part: run.config[part]["class_path"].rpartition(".")[2] for part in parts},
        "layers": len(diagnosis["latents"]),
        "negative_elbo": evaluation["negative_elbo"],
        **({f"nll_{num_samples}": likelihood} if likelihood else {}),
        "kl": last["test_kl"],
        "active_units": {latent["name"]: latent["active"] for latent in diagnosis["latents"]},
        "latent_dims": {latent["name"]: len(latent["variance_of_means"]) for latent in diagnosis["latents"]},
        "pareto_k": diagnosis["pareto_k"],
        "pareto_k_share_above_threshold": diagnosis.get("share_above_threshold"),  # older diagnoses have none
        "test_minus_train": last["test_negative_elbo"] - last["train_negative_elbo"],
        **{key: evaluation[key] for key in ("epochs", "minutes", "evaluation_minutes", "seed", "binarisation")},
        **{key: evaluation[key] for key in ("dataset", "num_test_images", "units", "machine", "command", "commit")},
        "config": {key: value for key, value in run.config.items() if key not in NOT_OF_A_ROW},
        "sha256": (run.data or {}).get("sha256"),
    }


def print_rows(table: Sequence[dict[str, Any]], num_samples: int, *more: str) -> None:
    """Print the table, one line for the seeds of a row, with a column for each name in ``more``."""
    bounds = {"-ELBO": "negative_elbo", f"NLL {num_samples}": f"nll_{num_samples}"}
    names = "".join(f"{name:>11s}" for name in (*more, "k", "KL")) + "".join(f"{name:>25s}" for name in bounds)
    print(f"{'row':20s}  seeds{names}  {'active':>11s}")
    for name, runs in by_name(table).items():
        numbers = {key: mean_of(runs, key) for key in (*more, "pareto_k", "kl")}
        digits = {key: ".1f" if key == "minutes" else ".3f" for key in numbers}
        cells = [f"{'-' if n is None else format(n, digits[key]):>11s}" for key, n in numbers.items()]
        cells += [f"{bound_text(runs, key, '.3f'):>25s}" for key in bounds.values()]
        print(f"{name:20s}  {len(runs):5d}{''.join(cells)}  {active_of(runs):>11s}")


def write_rows(rows: Sequence[Entry], file: Path, order: Sequence[str] = (), outdated: Collection[Entry] = ()) -> None:
    """Write rows to a table, which may have got others from another process meanwhile.

    Args:
        rows: they replace those of the same names and seeds.
        file: of the table.
        order: names in the order that the table is to have; others follow in their own.
        outdated: entries that leave the table, unless another process has put others in their place.

    Raises:
        ValueError: if the file is something else, or cannot be locked.
    """
    with _locked(file):
        table = {_key(row): row for row in _read_table(file) if row not in outdated}
        table |= {_key(row): row for row in rows}
        names = {name: place for place, name in enumerate(dict.fromkeys([*order, *(name for name, _ in table)]))}
        entries = sorted(table.values(), key=lambda row: (names[row["name"]], row["seed"]))
        write_whole(file, json.dumps(entries, indent=2) + "\n")


def rows_in(file: Path, num_samples: int) -> list[Entry]:
    """The rows of an existing table; none if there is no file.

    Raises:
        ValueError: if the file is something else or cannot be locked, or its rows have another number of samples.
    """
    with _locked(file):
        rows = _read_table(file)
    if any(key.startswith("nll_") and key != f"nll_{num_samples}" for row in rows for key in row):
        raise ValueError(f"{file} holds rows with a number of samples other than {num_samples}: choose another file")
    return rows


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep other processes from writing a table."""
    lock = file.with_name(f".{file.name}.lock")
    if lock.is_symlink() or lock.is_dir():  # filelock may truncate what a link leads to
        raise ValueError(f"{lock} must be a plain file, for {file} to be locked: remove it")
    try:
        held = FileLock(lock).acquire()
    except (OSError, NotImplementedError) as error:
        raise ValueError(f"{file} cannot be locked for writing ({error}): choose a file on another disk") from error
    with held:
        yield


def _key(row: Entry) -> Key:
    return row["name"], row["seed"]


def _read_table(file: Path) -> list[Entry]:
    if not file.exists():
        return []
    try:
        rows = json.loads(file.read_text())
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list) or not all(map(_is_entry, rows)):
        raise ValueError(f"{file} exists and is not a table of rows: choose another file")
    if len(set(map(_key, rows))) < len(rows):
        raise ValueError(f"{file} has two rows of one name and seed: remove one of them")
    try:
        by_name(rows)
    except ValueError as error:
        raise ValueError(f"{file} is not one table: {error}") from error
    return rows


def _is_entry(row: Any) -> bool:
    """Whether an entry has what is shown of it."""
    if not isinstance(row, dict) or not row.keys() >= {"minutes", "kl", "pareto_k", "negative_elbo", "binarisation"}:
        return False
    active, sizes = row.get("active_units"), row.get("latent_dims")
    estimates = [value for key, value in row.items() if key == "negative_elbo" or key.startswith("nll_")]
    return (
        all(isinstance(row.get(key), str) for key in ("name", "command", "dataset"))
        and isinstance(row["binarisation"], str | None)
        and all(_is_count(row.get(key)) for key in ("seed", "num_test_images"))
        and all(row[key] is None or _is_number(row[key]) for key in ("minutes", "kl", "pareto_k"))
        and all(isinstance(estimate, dict) and _is_number(estimate.get("value")) for estimate in estimates)
        and all(_is_number(estimate.get("standard_error_over_images") or 0) for estimate in estimates)
        and isinstance(active, dict)
        and isinstance(sizes, dict)
        and active.keys() == sizes.keys()
        and all(map(_is_count, (*active.values(), *sizes.values())))
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not abs(value) > _LARGEST


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST
