"""What the scripts that use a trained run share."""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from inference import Images, Pair, Run, RunError, binarise, load, load_dataset
from inference.data.datasets import is_there
from inference.runs.reading import check_kinds
from inference.system.devices import find_device
from inference.system.files import try_writing
from pyro_models_cli.parser import Parser

_NEEDED: dict[str, Any] = {
    "dataset": str,
    "seed": int,
    "batch_size": int,
    "lr": (int, float),
    "schedule": str,
    "objective": dict,
}


def add_run_options(parser: Parser) -> None:
    parser.add_argument("run", type=str, help="folder of a training run")
    parser.add_argument(
        "--checkpoint", choices=["last", "best", "previous"], default=None, help="which weights to take"
    )
    add_reading_options(parser)


def add_reading_options(parser: Parser) -> None:
    parser.add_argument("--data_root", type=str | None, default=None, help="folder of the data sets, if not the run's")
    parser.add_argument("--device", type=str, default="auto", help="auto (a GPU, if any), cpu, cuda, cuda:1 or mps")
    own = "packages of your own whose classes a run may name"
    parser.add_argument("--allow_import", type=str, nargs="+", default=[], help=own)


def load_pair(options: Any) -> tuple[Pair, torch.device]:
    """The pair of the run, and the device that it is on: the one that was asked for."""
    device = find_device(options.device)
    pair = load(options.run, options.checkpoint, options.allow_import, device)
    check_config(Run.open(options.run))
    return pair, device


def check_config(run: Run) -> None:
    """Make sure that a run's options are there, for those who show them.

    Raises:
        RunError: if not.
    """
    check_kinds(run.config, run.path / "config.yaml", **_NEEDED)


def checked_result(file: str) -> Path:
    """A JSON file to write a result to, in a folder that is made if need be.

    Raises:
        ValueError: if its name does not end in .json.
        OSError: if it cannot be written: known before the work, not after it.
    """
    result = Path(file)
    if result.suffix != ".json":
        raise ValueError(f"--result must be the name of a JSON file, ending in .json; got {file}")
    try_writing(result)
    return result


def is_writable(run: Run) -> bool:
    """Whether results can be written into the run's folder, tried before the work; a warning says if not."""
    try:
        try_writing(run.path / "evaluation.json")
    except OSError as error:
        warnings.warn(f"{error}: results are printed, but not kept in the run's folder", stacklevel=2)
        return False
    return True


def write_all(*writes: Callable[[], None]) -> None:
    """Write to several places, to each of them whatever becomes of the others.

    Raises:
        OSError, RunError: the first that was raised.
    """
    errors: list[Exception] = []
    for write in writes:
        try:
            write()
        except (OSError, RunError) as error:
            errors.append(error)
    if errors:
        raise errors[0]


def write_picture(figure: Any, path: Path) -> Path:
    """Save a figure; where that fails now, after the work, in the system's folder for temporary files.

    Raises:
        OSError: which names that folder.
    """
    from pyro_models_cli.report.figures import save  # matplotlib is slow to import

    try:
        return save(figure, path)
    except OSError as error:
        kept = save(figure, Path(tempfile.mkdtemp(prefix="pyro-models-")) / path.name)
        raise OSError(f"{path} could not be written ({error}): the picture is in {kept}") from error


def images_of(config: dict[str, Any], data_root: str | None = None) -> tuple[Images, Images]:
    """The images that a run was trained and tested on, observed as it observed them."""
    own = config.get("data_root")
    if not data_root and own and is_there(config["dataset"], own):  # never written to: the run may be from elsewhere
        data_root = own
    train, test = load_dataset(config["dataset"], data_root)
    how = config.get("binarisation")
    if how and how != "none":
        train, test = binarise(train, how, config["seed"]), binarise(test, how, config["seed"])
    conditional = bool(config.get("conditional"))
    return replace(train, conditional=conditional), replace(test, conditional=conditional)
