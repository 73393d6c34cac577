"""Tables of runs: each row is a VAE to train, diagnose and evaluate, unless that is done."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

from inference import Run
from inference.runs.reading import read_mapping
from inference.system.files import write_whole
from pyro_models_cli.commands.diagnose import DiagnoseOptions, diagnose_run
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.train_vae import TrainVAEOptions, describe_pair, parse, train_vae
from pyro_models_cli.data import Data, DataOptions, data_of
from pyro_models_cli.seeds import active_of, bound_text, by_name, mean_of
from pyro_models_cli.training import MAY_CHANGE, build_and_try, changed
from pyro_models_cli.words import one_line

_OF_THE_DATA = [*DataOptions.__dataclass_fields__, "binarisation", "seed", "conditional"]
_SAMPLES_OF_THE_ELBO = 50  # for each image, where the log-likelihood is not estimated
_NOT_OF_A_ROW = {"out", "config", "print_config", "resume", "overwrite", "allow_import", "data_root"}


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options of the table.

    Args:
        rows: names of the rows to make; by default all.
        result: JSON file to write the table to; by default it is only printed.
        data_root: folder of the data sets; by default $PYRO_MODELS_DATA, else the user's cache folder.
        num_samples: importance samples of the estimate of the log-likelihood.
    """

    rows: Sequence[str] | None = None
    result: str | None = None
    data_root: str | None = None
    num_samples: int = 5000


def read_rows(file: Path, chosen: Sequence[str] | None = None) -> dict[str, str]:
    """Names of rows and their options of train-vae, in the order of the file; only the chosen ones, if any.

    Raises:
        ValueError: if the file is no such list, or lacks a chosen row.
    """
    rows = read_mapping(file)
    for name, row in rows.items():
        if not isinstance(row, str):
            raise ValueError(f"{file} must map names of rows to options of train-vae, as text")
        check_row(f"row {name!r} of {file}", row)
    odd = [name for name in rows if Path(name).name != name or name[:1] in ("", ".") or not name.isprintable()]
    if odd:
        raise ValueError(f"names of rows are names of folders: {', '.join(map(repr, odd))} cannot be one")
    unknown = sorted(set(chosen or ()) - rows.keys())
    if unknown:
        raise ValueError(f"unknown rows {', '.join(unknown)}: expected some of {', '.join(rows)}")
    return {name: rows[name] for name in rows if not chosen or name in chosen}


def check_row(what: str, options: str) -> None:
    """Check that the options of a row do not say where to read or write.

    Raises:
        ValueError: if they do.
    """
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise ValueError(f"{what} is not a list of options: {error}") from error
    for word in words:
        name = word.partition("=")[0].removeprefix("--")
        helps = word == "-h" or name == "help" or name.endswith(".help")
        if word.startswith("-") and (helps or name in _NOT_OF_A_ROW):
            raise ValueError(f"{what} has {word}, which belongs on the command line: remove it")


def parse_row(
    name: str, options: str, out: Path, root: str | None = None, allow: Sequence[str] = ()
) -> TrainVAEOptions:
    """Parse the options of a row, which may name only allowed classes besides this project's.

    Raises:
        ValueError: if they are wrong; it names the row.
    """
    words = [*shlex.split(options), "--out", str(out)]
    words += [] if root is None else ["--data_root", root]
    words += ["--allow_import", *allow] if allow else []
    try:
        return parse(words, trusted=False)
    except (ValueError, TypeError) as error:
        raise ValueError(f"row {name!r} cannot be trained: {error}") from error


def try_rows(rows: dict[str, TrainVAEOptions]) -> None:
    """Build the pairs of all rows and try each on two images, before the first is trained.

    Raises:
        ValueError: if one cannot work; it names the row.
    """
    loaded: dict[str, Data] = {}
    for name, options in rows.items():
        try:
            key = repr([getattr(options, name) for name in _OF_THE_DATA])
            if key not in loaded:
                loaded[key] = data_of(options.config, options.data_root, options.allow_import)
            build_and_try(options, describe_pair(options, loaded[key]), loaded[key].train)
        except (ValueError, TypeError) as error:
            raise ValueError(f"row {name!r} cannot be trained: {error}") from error


def with_seeds(options: TrainVAEOptions, count: int) -> list[TrainVAEOptions]:
    """The options of a row for as many seeds, from its own seed on; each has its own folder."""
    later = range(options.seed + 1, options.seed + count)
    return [options, *(replace(options, seed=seed, out=f"{options.out}_seed{seed}") for seed in later)]


def make_row(options: TrainVAEOptions, row: str, num_samples: int, likelihood: bool = True) -> None:
    """Train a row (or finish its training), diagnose and evaluate it.

    Args:
        options: of the training.
        row: the options as its list has them, to be printed.
        num_samples: importance samples of the estimate of the log-likelihood.
        likelihood: whether to estimate the log-likelihood, which can take longer than the training; the ELBO takes
            little.

    Raises:
        RuntimeError: if that fails, or the folder holds a run with other options.
    """
    path = Path(options.out)
    if num_samples < 20:  # the diagnosis needs them; better known before the training
        raise ValueError(f"num_samples must be at least 20; got {num_samples}")
    trained = (path / "checkpoints" / "last.safetensors").exists()
    if trained and not is_of(Run.open(path).config, options):
        raise RuntimeError(f"{path} holds a run with other options: remove it, or choose another --out")
    if is_made(path, num_samples if likelihood else None):
        print(f"{path.name}: already made", flush=True)
        return
    print(one_line(f"{path.name}: {row}"), flush=True)
    root, allow = options.data_root, options.allow_import
    try:
        train_vae(replace(options, resume=trained))
        diagnose_run(path, DiagnoseOptions(num_samples=num_samples, data_root=root, allow_import=allow))
        m = [num_samples if likelihood else _SAMPLES_OF_THE_ELBO]
        evaluate(path, EvaluateOptions(m=m, repeats=1, data_root=root, allow_import=allow))
    except Exception as error:
        raise RuntimeError(f"row {path.name!r} failed: {error}; the rows made so far are kept") from error


def is_of(config: dict[str, Any], options: TrainVAEOptions) -> bool:
    """Whether a run has the options of a row; any that ``--resume`` may change, except the length, may differ."""
    return set(changed(config, options)) <= MAY_CHANGE - {"epochs", "patience"}


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


def is_in(row: dict[str, Any], options: TrainVAEOptions) -> bool:
    """Whether a row of a table was made with these options.

    Its command leaves out what was a default then; older rows have nothing else.
    """
    try:
        config = row.get("config")
        recorded = config if isinstance(config, dict) else options_in(row, options.allow_import).config
        return is_of(recorded, options)
    except (ValueError, TypeError):
        return False


def is_made(path: Path, num_samples: int | None) -> bool:
    """Whether a row is trained, diagnosed and evaluated, with so many importance samples if it matters."""
    done = (path / "diagnosis.json").is_file() and (path / "evaluation.json").is_file()
    if not done or num_samples is None:
        return done
    return str(num_samples) in (Run.open(path).evaluation() or {}).get("negative_iwae", {})


def row_of(name: str, path: Path, num_samples: int) -> dict[str, Any]:
    """One entry of the table, from the files of a run; without the log-likelihood where it was not estimated."""
    run = Run.open(path)
    evaluation = run.evaluation() or {}
    diagnosis = json.loads((path / "diagnosis.json").read_text())
    last = next(row for row in run.metrics() if row["epoch"] == evaluation["epochs"])  # whose weights these are
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
        "config": {key: value for key, value in run.config.items() if key not in _NOT_OF_A_ROW},
    }


def print_rows(table: Sequence[dict[str, Any]], num_samples: int, *more: str) -> None:
    """Print the table, one line for the seeds of a row, with a column for each name in ``more``."""
    bounds = {"-ELBO": "negative_elbo", f"NLL {num_samples}": f"nll_{num_samples}"}
    names = "".join(f"{name:>11s}" for name in (*more, "k", "KL")) + "".join(f"{name:>25s}" for name in bounds)
    print(f"{'row':20s}  seeds{names}  {'active':>11s}")
    for name, runs in by_name(table).items():
        numbers = (mean_of(runs, key) for key in (*more, "pareto_k", "kl"))
        cells = [f"{'-' if number is None else format(number, '.3f'):>11s}" for number in numbers]
        cells += [f"{bound_text(runs, key, '.3f'):>25s}" for key in bounds.values()]
        print(f"{name:20s}  {len(runs):5d}{''.join(cells)}  {active_of(runs):>11s}")


def write_rows(table: Sequence[dict[str, Any]], file: Path) -> None:
    """Write the table: it replaces rows of the same names, and other rows follow it."""
    kept = [row for row in _read_table(file) if row["name"] not in {new["name"] for new in table}]
    write_whole(file, json.dumps([*table, *kept], indent=2) + "\n")


def rows_in(file: Path, num_samples: int) -> list[dict[str, Any]]:
    """The rows of an existing table; none if there is no file.

    Raises:
        ValueError: if the file is something else, or its rows have another number of samples.
    """
    rows = _read_table(file)
    if any(key.startswith("nll_") and key != f"nll_{num_samples}" for row in rows for key in row):
        raise ValueError(f"{file} holds rows with a number of samples other than {num_samples}: choose another file")
    return rows


def _read_table(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    try:
        rows = json.loads(file.read_text())
        if all("name" in row and isinstance(row["command"], str) and isinstance(row["seed"], int) for row in rows):
            return rows
    except (UnicodeDecodeError, ValueError, TypeError, KeyError):
        pass
    raise ValueError(f"{file} exists and is not a table of rows: choose another file")
