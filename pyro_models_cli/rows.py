"""Tables of runs: each row is a run that the scripts train, diagnose and evaluate unless that is done."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inference import Run
from inference.runs.reading import read_mapping
from inference.system.files import write_whole
from pyro_models_cli.commands import diagnose, evaluate, train_vae
from pyro_models_cli.trained import images_of
from pyro_models_cli.training import build_and_try
from pyro_models_cli.words import one_line

_NOT_OF_A_ROW = {"out", "config", "print_config", "resume", "overwrite", "allow_import", "data_root"}


def read_rows(file: Path, chosen: Sequence[str] | None = None) -> dict[str, str]:
    """Names and options of train_vae.py, in the order of the file; only those chosen, if any are.

    Raises:
        ValueError: if the file is no such list, or a chosen row is not in it.
    """
    rows = read_mapping(file)
    for name, row in rows.items():
        if not isinstance(row, str):
            raise ValueError(f"{file} must map names of rows to options of train_vae.py, each a text")
        check_row(f"row {name!r} of {file}", row)
    odd = [name for name in rows if Path(name).name != name or name[:1] in ("", ".") or not name.isprintable()]
    if odd:
        raise ValueError(f"names of rows are names of folders: {', '.join(map(repr, odd))} cannot be one")
    unknown = sorted(set(chosen or ()) - rows.keys())
    if unknown:
        raise ValueError(f"unknown rows {', '.join(unknown)}: expected some of {', '.join(rows)}")
    return {name: rows[name] for name in rows if not chosen or name in chosen}


def check_row(what: str, options: str) -> None:
    """Make sure that the options of a row leave it to the table where things are read and written.

    Raises:
        ValueError: if not.
    """
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise ValueError(f"{what} is no list of options: {error}") from error
    for word in words:
        name = word.partition("=")[0].removeprefix("--")
        helps = word == "-h" or name == "help" or name.endswith(".help")
        if word.startswith("-") and (helps or name in _NOT_OF_A_ROW):
            raise ValueError(f"{what} has {word}, which is for the command line alone: take it out")


def try_rows(rows: dict[str, str], root: str | None, allow: Sequence[str]) -> None:
    """Parse the options of all rows, build their pairs, and show each two images: before the first is trained.

    Raises:
        ValueError: if one of them cannot work; it names the row.
    """
    loaded: dict[tuple, Any] = {}
    for name, options in rows.items():
        try:
            parser, chosen = train_vae.parse([*_words(options, root, allow), "--out", "unused"], trusted=False)
            data = tuple(chosen[key] for key in ("dataset", "binarisation", "seed", "conditional"))
            if data not in loaded:
                loaded[data] = images_of(chosen.as_dict(), root)
            train = loaded[data][0]
            build_and_try(parser, chosen, train_vae.describe_pair(chosen, train, parser.allowed), train)
        except (ValueError, TypeError) as error:
            raise ValueError(f"row {name!r} cannot be trained: {error}") from error


def _words(options: str, root: str | None, allow: Sequence[str]) -> list[str]:
    return [
        *shlex.split(options),
        *([] if root is None else ["--data_root", root]),
        *(["--allow_import", *allow] if allow else []),
    ]


def make_row(path: Path, options: str, root: str | None, num_samples: int, allow: Sequence[str] = ()) -> None:
    """Train unless that is done, diagnose, evaluate.

    Raises:
        RuntimeError: if one of these fails, or the run is there with other options.
    """
    if num_samples < 20:  # what the diagnosis needs: known before the training
        raise ValueError(f"num_samples must be at least 20; got {num_samples}")
    trained = (path / "checkpoints" / "last.safetensors").exists()
    if trained and not is_of(Run.open(path).environment["command"], options, path):
        raise RuntimeError(f"{path} holds a row of other options: remove it, or choose another --out")
    if is_made(path, num_samples):
        print(f"{path.name}: made already", flush=True)
        return
    print(one_line(f"{path.name}: {options}"), flush=True)
    first, more = shlex.split(options), _words("", root, allow)
    training = [*first, "--out", str(path), *more, *(["--resume"] if trained else [])]
    with _as_typed("train_vae.py", training):
        train_vae.command(training, trusted=False)
    for script, use, own in (
        ("diagnose.py", diagnose.command, ["--num_samples", str(num_samples)]),
        ("evaluate.py", evaluate.command, ["--m", str(num_samples), "--repeats", "1"]),
    ):
        with _as_typed(script, [str(path), *own, *more]):
            use([str(path), *own, *more])


def is_of(command: str, options: str, path: Path) -> bool:
    """Whether a recorded command trained a run in this folder with just these options."""
    wanted = " ".join([*shlex.split(options), "--out", str(path)])
    return f"{command.partition('train_vae.py ')[2]} ".startswith(f"{wanted} ")


@contextmanager
def _as_typed(script: str, arguments: list[str]) -> Iterator[None]:
    """Within, records say that a script was called so, and failures name it.

    Raises:
        RuntimeError: if it fails.
    """
    typed = sys.argv
    sys.argv = [str(Path(typed[0]).parent / script), *arguments]
    try:
        yield
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"{script} {shlex.join(arguments)}: {error}; the rows that are made are kept") from error
    finally:
        sys.argv = typed


def is_made(path: Path, num_samples: int) -> bool:
    done = (path / "diagnosis.json").is_file() and (path / "evaluation.json").is_file()
    return done and str(num_samples) in (Run.open(path).evaluation() or {}).get("negative_iwae", {})


def row_of(path: Path, num_samples: int) -> dict[str, Any]:
    """One row of the table, from the files of its run."""
    run = Run.open(path)
    evaluation = run.evaluation() or {}
    diagnosis = json.loads((path / "diagnosis.json").read_text())
    last = next(row for row in run.metrics() if row["epoch"] == evaluation["epochs"])  # whose weights these are
    parts = ("model", "prior", "guide", "decoder", "likelihood", "objective")
    return {
        "name": path.name,
        **{part: run.config[part]["class_path"].rpartition(".")[2] for part in parts},
        "layers": len(diagnosis["latents"]),
        "negative_elbo": evaluation["negative_elbo"],
        f"nll_{num_samples}": evaluation["negative_iwae"][str(num_samples)],
        "kl": last["test_kl"],
        "active_units": {latent["name"]: latent["active"] for latent in diagnosis["latents"]},
        "latent_dims": {latent["name"]: len(latent["variance_of_means"]) for latent in diagnosis["latents"]},
        "pareto_k": diagnosis["pareto_k"],
        "pareto_k_share_above_threshold": diagnosis.get("share_above_threshold"),  # older diagnoses have none
        "test_minus_train": last["test_negative_elbo"] - last["train_negative_elbo"],
        **{key: evaluation[key] for key in ("epochs", "minutes", "evaluation_minutes", "seed", "binarisation")},
        **{key: evaluation[key] for key in ("dataset", "num_test_images", "units", "machine", "command", "commit")},
    }


def active_of(row: dict[str, Any]) -> str:
    """Active coordinates of all, of one latent or of two."""
    return " + ".join(f"{used:d}/{row['latent_dims'][name]:d}" for name, used in row["active_units"].items())


def print_rows(table: Sequence[dict[str, Any]], num_samples: int, *more: str) -> None:
    """The table, and columns of numbers that are in its rows under the names of ``more``."""
    print(f"{'row':20s}" + "".join(f"{name:>11s}" for name in (*more, "-ELBO", f"NLL {num_samples}", "KL", "active")))
    for row in table:
        values = [row[name] for name in more]
        values += [row["negative_elbo"]["value"], row[f"nll_{num_samples}"]["value"], row["kl"]]
        print(f"{row['name']:20s}" + "".join(f"{value:11.3f}" for value in values) + f"  {active_of(row):>9s}")


def write_rows(table: Sequence[dict[str, Any]], file: Path) -> None:
    """Write the table, in the place of rows of the same names; others that are there stay, behind."""
    kept = [row for row in _read_table(file) if row["name"] not in {new["name"] for new in table}]
    write_whole(file, json.dumps([*table, *kept], indent=2) + "\n")


def rows_in(file: Path, num_samples: int) -> list[dict[str, Any]]:
    """The rows of a table that is there already; none if it is not.

    Raises:
        ValueError: if the file is something else, or its rows are by another number of samples.
    """
    rows = _read_table(file)
    if not all(f"nll_{num_samples}" in row for row in rows):
        raise ValueError(f"{file} holds rows by another number of samples than {num_samples}: choose another file")
    return rows


def _read_table(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    try:
        rows = json.loads(file.read_text())
        if all("name" in row and "command" in row for row in rows):
            return rows
    except (UnicodeDecodeError, ValueError, TypeError):
        pass
    raise ValueError(f"{file} is there and is no table of rows: choose another file")
