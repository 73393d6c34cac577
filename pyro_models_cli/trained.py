"""What the commands that read a trained run share."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from inference import Pair, Run, RunError, load
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
        argv: the command line; by default this process's own.

    Raises:
        ValueError: if they are wrong.
    """
    parser = Parser(description=description)
    parser.add_argument("run", type=str, help="folder of a training run, or hf://owner/name")
    parser.add_options(options)
    given = parser.parse(argv)
    return given.run, made(options, given)


def load_pair(run: Path | str, options: RunOptions) -> tuple[Pair, torch.device]:
    """The pair of a run, and the device it is on."""
    device = find_device(options.device)
    pair = load(run, options.checkpoint, options.allow_import, device)
    check_config(Run.open(run))
    return pair, device


def check_config(run: Run) -> None:
    """Check that a run's configuration has the options that reports show.

    Raises:
        RunError: if not.
    """
    config, file = run.config, run.path / "config.yaml"
    check_kinds(config, file, **_NEEDED)
    check_kinds(config["objective"], file, class_path=str)
    check_kinds({"num_validation": config.get("num_validation") or 0}, file, num_validation=int)
    for name, least, most in (("seed", 0, 2**63), ("batch_size", 1, 2**63), ("lr", 0, 1e30)):
        if not least <= config[name] <= most:
            raise RunError(f"{file} is damaged: {name} cannot be {str(config[name])[:40]}")


def checked_result(file: str) -> Path:
    """A JSON file to write a result to; its folder is created if needed.

    Raises:
        ValueError: if its name does not end in .json.
        OSError: if it cannot be written; better known before the work than after it.
    """
    result = Path(file)
    if result.suffix != ".json":
        raise ValueError(f"--result must be the name of a JSON file, ending in .json; got {file}")
    if result.is_symlink():
        result = result.resolve()  # the link stays one
    try_writing(result)
    return result


def picture_file(out: str | None, usual: Path, or_else: str = "") -> Path:
    """The PNG file to write a picture to: ``out``, or the usual one; ``or_else`` says what else it may be.

    Raises:
        ValueError: if its name does not end in .png.
    """
    file = Path(out) if out else usual
    if file.suffix != ".png":
        raise ValueError(f"--out must be the name of a PNG file, ending in .png{or_else}; got {file}")
    return file


def is_writable(run: Run) -> bool:
    """Whether results can be written to the run's folder; warns if not, before the work."""
    try:
        try_writing(run.path / "evaluation.json")
    except OSError as error:
        warnings.warn(f"{error}: results are printed, but not kept in the run's folder", stacklevel=2)
        return False
    return True


def write_all(*writes: Callable[[], None]) -> None:
    """Write to several places; if one fails, the others are still written.

    Raises:
        OSError, RunError: the first failure.
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
    """Save a figure; if that fails, after all the work, save it in the system's temporary folder.

    Raises:
        OSError: naming that folder.
    """
    from inference.figures.style import save  # matplotlib is slow to import

    try:
        return save(figure, path)
    except OSError as error:
        kept = save(figure, Path(tempfile.mkdtemp(prefix="pyro-models-")) / path.name)
        raise OSError(f"{path} could not be written ({error}): the picture is in {kept}") from error
