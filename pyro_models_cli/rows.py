"""Rows of a list: each is a VAE to train, diagnose and evaluate, unless that is done."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference import Run
from inference.data.datasets import DATASETS
from inference.data.errors import DataError, first_line
from inference.data.tables import TABLES
from inference.runs.checkpoint import read_progress
from inference.runs.reading import read_mapping
from inference.system.interrupts import Interrupted
from pyro_models_cli.commands.diagnose import DiagnoseOptions, diagnose_run
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.train_vae import TrainVAEOptions, describe_pair, parse, train_vae
from pyro_models_cli.data import Data, DataOptions, data_of
from pyro_models_cli.training import MAY_CHANGE, build_and_try, changed
from pyro_models_cli.words import one_line

_OF_THE_DATA = [*DataOptions.__dataclass_fields__, "binarisation", "seed", "conditional"]
_SAMPLES_OF_THE_ELBO = 50  # for each image, where the log-likelihood is not estimated
NOT_OF_A_ROW = {"out", "config", "print_config", "resume", "overwrite", "allow_import", "data_root"}


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

    def __post_init__(self) -> None:
        if self.num_samples < 20:  # the diagnosis needs them; better known before the work
            raise ValueError(f"num_samples must be at least 20; got {self.num_samples}")


def read_rows(file: Path, chosen: Sequence[str] | None = None) -> dict[str, str]:
    """Names of rows and their options of train-vae, in the order of the file; only the chosen ones, if any.

    Raises:
        ValueError: if the file is no such list, or lacks a chosen row.
    """
    if not file.exists():
        raise ValueError(
            f"there is no list {file}: expected a YAML file of rows, or one of those packaged, zoo and tried"
        )
    rows = read_mapping(file)
    for name, row in rows.items():
        if not isinstance(row, str):
            raise ValueError(
                f"{file} must map names of rows to options of train-vae, as text; row {name!r:.80} is not text "
                '(write "" for no options of its own)'
            )
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
        if word.startswith("-") and (helps or name in NOT_OF_A_ROW):
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
        ValueError: if one cannot work or be measured; it names the row.
    """
    loaded: dict[str, Data] = {}
    for name, options in rows.items():
        try:
            key = repr([getattr(options, name) for name in _OF_THE_DATA])
            if key not in loaded:
                loaded[key] = data_of(options.config, options.data_root, options.allow_import)
            loaded[key].tested()
            build_and_try(options, describe_pair(options, loaded[key]), loaded[key].train)
        except (ValueError, TypeError, DataError) as error:
            raise ValueError(f"row {name!r} cannot be trained: {error}") from error


def with_seeds(options: TrainVAEOptions, count: int) -> list[TrainVAEOptions]:
    """The options of a row for as many seeds, from its own seed on; each has its own folder."""
    later = range(options.seed + 1, options.seed + count)
    return [options, *(replace(options, seed=seed, out=f"{options.out}_seed{seed}") for seed in later)]


def data_of_row(options: TrainVAEOptions) -> str | None:
    """The SHA-256 of a row's data; None for data sets by name, which are always the same.

    Raises:
        ValueError, DataError: if they cannot be read.
    """
    if options.dataset in (*DATASETS, *TABLES):
        return None
    return data_of(options.config, options.data_root, options.allow_import).record["sha256"]


def make_row(options: TrainVAEOptions, row: str, num_samples: int, likelihood: bool = True) -> None:
    """Train a row (or finish its training), diagnose and evaluate it.

    Args:
        options: of the training.
        row: the options as its list has them, to be printed.
        num_samples: importance samples of the estimate of the log-likelihood.
        likelihood: whether to estimate the log-likelihood, which can take longer than the training; the ELBO takes
            little.

    Raises:
        RuntimeError: if that fails, or the folder holds a run with other options or other data.
    """
    path = Path(options.out)
    check_folder(options)
    if is_made(options, num_samples, likelihood):
        print(f"{path.name}: already made", flush=True)
        return
    print(one_line(f"{path.name}: {row}"), flush=True)
    root, allow = options.data_root, options.allow_import
    try:
        train_vae(replace(options, resume=_is_trained(path)))
        diagnose_run(path, DiagnoseOptions(num_samples=num_samples, data_root=root, allow_import=allow))
        m = [num_samples if likelihood else _SAMPLES_OF_THE_ELBO]
        evaluate(path, EvaluateOptions(m=m, repeats=1, data_root=root, allow_import=allow))
    except Interrupted as stop:
        raise Interrupted(f"interrupted in row {path.name!r}; the same command continues it", stop.signum) from stop
    except Exception as error:
        raise RuntimeError(f"row {path.name!r} failed: {error}; the rows made so far are kept") from error


def check_folder(options: TrainVAEOptions) -> None:
    """Check that the folder of a row holds no other run.

    Raises:
        RuntimeError: if it holds one with other options or other data, or a damaged one.
    """
    path = Path(options.out)
    if not _is_trained(path):
        return
    run, data = Run.open(path), data_of_row(options)
    try:
        names = _others_of(run.config, options)
        others = [f"options ({', '.join(names)})"] if names else []
        others += ["data"] if data not in (None, (run.data or {}).get("sha256")) else []
    except (ValueError, TypeError) as error:
        raise RuntimeError(f"{path / 'config.yaml'} is damaged: {first_line(error)}") from error
    if others:
        raise RuntimeError(f"{path} holds a run with other {' and '.join(others)}: remove it, or choose another --out")


def _is_trained(path: Path) -> bool:
    return (path / "checkpoints" / "last.safetensors").exists()


def is_of(config: dict[str, Any], options: TrainVAEOptions) -> bool:
    """Whether a run has the options of a row; any that ``--resume`` may change, except the length, may differ."""
    return not _others_of(config, options)


def _others_of(config: dict[str, Any], options: TrainVAEOptions) -> list[str]:
    may_differ = MAY_CHANGE - {"epochs", "patience"}
    return [name for name in changed(config, options) if name not in may_differ]


def is_made(options: TrainVAEOptions, num_samples: int, likelihood: bool = True) -> bool:
    """Whether a row is trained to its end, and its weights are diagnosed and evaluated as :func:`make_row` does it."""
    path = Path(options.out)
    if not all((path / name).is_file() for name in ("config.yaml", "diagnosis.json", "evaluation.json")):
        return False
    run = Run.open(path)
    evaluation, diagnosis = run.evaluation() or {}, run.diagnosis() or {}
    last, weights = read_progress(run.last), read_progress(run.default_weights)
    epochs, epoch = last.get("epoch", 0), weights.get("epoch", 0) + weights.get("part", 0)
    out_of_patience = options.patience is not None and epochs - last.get("best_epoch", epochs) >= options.patience
    usual = {"num_samples": num_samples, "epochs": epoch}
    for name in ("num_images", "num_weighted"):
        usual[name] = min(getattr(DiagnoseOptions, name), evaluation["num_test_images"])
    return (
        (out_of_patience or epochs >= options.epochs)
        and evaluation["epochs"] == epoch
        and usual.items() <= diagnosis.items()
        and (not likelihood or str(num_samples) in evaluation["negative_iwae"])
    )
