"""A run as it is shared: what is needed to use it, without the state of its training or places on this machine."""

import json
from pathlib import Path

import yaml

from inference.runs.checkpoint import copy_weights
from inference.runs.folder import SHARED, RunError
from inference.runs.run import Run
from inference.system.files import write_whole


def share(run: Run, folder: Path) -> Run:
    """Write to a new folder what it takes to load, evaluate and report a run.

    Of the checkpoints it gets the one that :func:`inference.load` takes, without the optimiser's state, so it cannot be
    resumed.  The configuration and the record of the data lose the folders of this machine; the commands that made the
    run stay as they were typed.

    Args:
        run: an opened run with a checkpoint.
        folder: for the copy; it may exist if it is empty.

    Raises:
        RunError, CheckpointError: if the run is incomplete or damaged, or the folder holds something.
        OSError: if the folder cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} already holds something: choose another folder")
    weights = run.default_weights
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    copy_weights(weights, folder / "checkpoints" / weights.name)
    config, data = run.config, run.data
    config = {name: value for name, value in config.items() if name != "data_root"}
    config["out"] = run.path.resolve().name
    if data is not None:
        if data["path"]:
            data["path"] = data["source"] = config["dataset"] = Path(data["path"]).name
        write_whole(folder / "data.json", json.dumps(data, indent=2) + "\n")
    write_whole(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    for name in SHARED:
        file = run.path / name
        if file.is_file() and file.parent == run.path and not (folder / name).exists():
            write_whole(folder / name, file.read_bytes())
    run.check_unchanged()
    return Run.open(folder)
