"""What the scripts that use a trained run share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _cli import Parser

from inference import Images, Pair, binarise, is_there, load, load_dataset


def add_run_options(parser: Parser) -> None:
    parser.add_argument("run", type=str, help="folder of a training run")
    parser.add_argument(
        "--checkpoint", choices=["last", "best", "previous"], default=None, help="which weights to take"
    )
    add_reading_options(parser)


def add_reading_options(parser: Parser) -> None:
    parser.add_argument("--data_root", type=str | None, default=None, help="folder of the data sets, if not the run's")
    own = "packages of your own whose classes a run may name"
    parser.add_argument("--allow_import", type=str, nargs="+", default=[], help=own)


def load_pair(options: Any, device: torch.device | str = "cpu") -> Pair:
    return load(options.run, options.checkpoint, options.allow_import, device)


def checked_result(file: str) -> Path:
    """A JSON file to write a result to, in a folder that is made if need be.

    Raises:
        ValueError: if its name does not end in .json.
        OSError: if it cannot be written: known before the work, not after it.
    """
    result = Path(file)
    if result.suffix != ".json":
        raise ValueError(f"--result must be the name of a JSON file, ending in .json; got {file}")
    result.parent.mkdir(parents=True, exist_ok=True)
    there = result.exists()
    result.open("a").close()
    if not there:
        result.unlink()
    return result


def best_device(choice: str) -> torch.device:
    """The CPU, or for "auto" the GPU where there is one."""
    accelerator = torch.accelerator.current_accelerator() if choice == "auto" else None
    return accelerator or torch.device("cpu")


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
