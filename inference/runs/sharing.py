"""A run as it is shared: what is needed to use it, without the state of its training or places on this machine."""

import json
import tempfile
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from inference.runs.checkpoint import copy_weights, read_progress
from inference.runs.folder import DESCRIPTIONS, TABLES, RunError
from inference.runs.places import without_folders
from inference.runs.reading import read_mapping
from inference.runs.run import Run
from inference.system.files import write_whole


def share(run: Run, folder: Path, half: bool = False) -> Run:
    """Write to a new folder what it takes to load, evaluate and report a run.

    Of the checkpoints it gets the one that :func:`inference.load` takes, without the optimiser's state, so it cannot be
    resumed.  Tables end with the epoch of the last checkpoint, should the run still be training, and an evaluation of
    other weights is left out.  Records lose the folders of this machine, see
    :func:`inference.runs.places.without_folders`.

    Args:
        run: an opened run with a checkpoint.
        folder: for the copy; it may exist if it is empty.  It is written whole or not at all.
        half: round the weights to 16 bits, to halve the file; the evaluation of the unrounded ones is left out.

    Raises:
        RunError, CheckpointError: if the run is incomplete or damaged, or the folder holds something.
        OSError: if the folder cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} already holds something: choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sharing-") as elsewhere:
        new = Path(elsewhere) / "run"
        _copy(run, new, half)
        run.check_unchanged()
        if folder.exists():
            folder.rmdir()
        new.rename(folder)
    return Run.open(folder)


def _copy(run: Run, new: Path, half: bool) -> None:
    weights = run.default_weights
    copied = new / "checkpoints" / weights.name
    copied.parent.mkdir(parents=True)
    copy_weights(weights, copied, half)  # first: the tables of a run that is training have at least its epochs
    progress = read_progress(copied)
    for name in TABLES:
        if (run.path / name).is_file():
            lines = (run.path / name).read_bytes().splitlines(keepends=True)
            epochs = progress.get("epoch") if weights == run.last else None
            write_whole(new / name, b"".join(lines if epochs is None else lines[: 1 + int(epochs)]))
    evaluation = run.evaluation()
    stale = half or evaluation is None or evaluation["epochs"] != progress.get("epoch", 0) + progress.get("part", 0)
    for name in DESCRIPTIONS:
        if (run.path / name).is_file() and not (stale and name == "evaluation.json"):
            write_whole(new / name, _shared(run, name))


def _shared(run: Run, name: str) -> bytes:
    """The content of a description; as it is, where nothing in it has to change."""
    file = run.path / name
    content = file.read_bytes()
    try:
        record: Any = json.loads(content) if file.suffix == ".json" else read_mapping(file)
    except ValueError as error:
        raise RunError(f"{file} is damaged: expected JSON") from error
    told = without_folders(record)
    data = run.data if name in ("config.yaml", "data.json", "evaluation.json") else None
    if data is not None and data["path"]:
        own = PureWindowsPath(data["path"]).name
        told |= {key: own for key in ("path", "source", "dataset") if key in told}
    if name == "config.yaml":
        told = {key: value for key, value in told.items() if key != "data_root"}
        told["out"] = run.path.resolve().name
    if told == record:
        return content
    text = json.dumps(told, indent=2) + "\n" if file.suffix == ".json" else yaml.safe_dump(told, sort_keys=False)
    return text.encode()
