"""Tables of runs: one row a run, trained, diagnosed and evaluated by the scripts, and skipped where that is done."""

import json
import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from inference import Run, write_whole


def read_rows(file: Path, chosen: Sequence[str] | None = None) -> dict[str, str]:
    """Names and options of train_vae.py, in the order of the file; only those chosen, if any are.

    Raises:
        ValueError: if the file is no such list, or a chosen row is not in it.
    """
    try:
        rows = yaml.safe_load(file.read_text())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} is not a YAML file: {error}") from error
    if not isinstance(rows, dict) or not all(isinstance(part, str) for row in rows.items() for part in row):
        raise ValueError(f"{file} must map names of rows to options of train_vae.py, each a text")
    odd = [name for name in rows if Path(name).name != name or name.startswith(".")]
    if odd:
        raise ValueError(f"names of rows are names of folders: {', '.join(map(repr, odd))} cannot be one")
    unknown = sorted(set(chosen or ()) - rows.keys())
    if unknown:
        raise ValueError(f"unknown rows {', '.join(unknown)}: expected some of {', '.join(rows)}")
    return {name: rows[name] for name in rows if not chosen or name in chosen}


def make_row(path: Path, options: str, root: str | None, num_samples: int) -> None:
    """Train unless that is done, diagnose, evaluate.

    Raises:
        RuntimeError: if one of these fails, or the run is there with other options.
    """
    if num_samples < 20:  # what the diagnosis needs: known before the training
        raise ValueError(f"num_samples must be at least 20; got {num_samples}")
    command = [*shlex.split(options), "--out", str(path)]
    trained = (path / "checkpoints" / "last.safetensors").exists()
    if trained and not is_of(Run.open(path).environment["command"], options, path):
        raise RuntimeError(f"{path} holds a row of other options: remove it, or choose another --out")
    if is_made(path, num_samples):
        print(f"{path.name}: made already", flush=True)
        return
    print(f"{path.name}: {options}", flush=True)
    data = [] if root is None else ["--data_root", root]
    run_script("train_vae.py", *command, *data, *(["--resume"] if trained else []))
    run_script("diagnose.py", str(path), *data, "--num_samples", str(num_samples))
    run_script("evaluate.py", str(path), *data, "--m", str(num_samples), "--repeats", "1")


def is_of(command: str, options: str, path: Path) -> bool:
    """Whether a recorded command trained a run in this folder with just these options."""
    wanted = " ".join([*shlex.split(options), "--out", str(path)])
    return f"{command.partition('train_vae.py ')[2]} ".startswith(f"{wanted} ")


def run_script(name: str, *arguments: str) -> None:
    """Run a script in this process, as if it had been typed."""
    typed = sys.argv
    script = str(Path(typed[0]).parent / name)  # as typed, for the record
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        if stop.code == 130:
            raise KeyboardInterrupt from stop
        if stop.code:
            raise RuntimeError(f"{name} {shlex.join(arguments)} failed; the rows that are made are kept") from stop
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
        "test_minus_train": last["test_negative_elbo"] - last["train_negative_elbo"],
        **{key: evaluation[key] for key in ("epochs", "minutes", "evaluation_minutes", "seed", "binarisation")},
        **{key: evaluation[key] for key in ("dataset", "num_test_images", "units", "machine", "command", "commit")},
    }


def active_of(row: dict[str, Any]) -> str:
    """Active coordinates of all, of one latent or of two."""
    return " + ".join(f"{used}/{row['latent_dims'][name]}" for name, used in row["active_units"].items())


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
