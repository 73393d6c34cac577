"""What the commands that read a trained run share."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from inference import Images, Pair, Run, RunError, binarise, load, load_dataset
from inference.data.datasets import is_there
from inference.runs.reading import check_kinds
from inference.system.devices import find_device
from inference.system.files import try_writing
from pyro_models_cli.options import ReadingOptions, RunOptions
from pyro_models_cli.parser import Parser, made

Options = TypeVar("Options", bound=ReadingOptions)
_NEEDED: dict[str, Any] = {
    "dataset": str,
    "seed": int,
    "batch_size": int,
    "lr": (int, float),
    "schedule": str,
    "objective": dict,
}


def parse_run(options: type[Options], description: str | None, argv: Sequence[str] | None) -> tuple[str, Options]:
    """The folder of a run and the options that a command line gives.

    Args:
        options: their class.
        description: of the command.
        argv: the command line; that of this process if not given.

    Raises:
        ValueError: if they are wrong.
    """
    parser = Parser(description=description)
    parser.add_argument("run", type=str, help="folder of a training run")
    parser.add_options(options)
    given = parser.parse(argv)
    return given.run, made(options, given)


def load_pair(run: Path | str, options: RunOptions) -> tuple[Pair, torch.device]:
    """The pair of the run, and the device that it is on: the one that was asked for."""
    device = find_device(options.device)
    pair = load(run, options.checkpoint, options.allow_import, device)
    check_config(Run.open(run))
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


def picture_file(out: str | None, usual: Path) -> Path:
    """The PNG file to write a picture to: the one that was asked for, or the usual one.

    Raises:
        ValueError: if its name does not end in .png.
    """
    file = Path(out) if out else usual
    if file.suffix != ".png":
        raise ValueError(f"--out must be the name of a PNG file, ending in .png; got {file}")
    return file


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
