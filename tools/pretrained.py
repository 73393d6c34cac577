"""Copy a trained run into pretrained/, with the value that tests compare it to.

    python tools/pretrained.py runs/vae_mnist vae_mnist

The run should have been evaluated: its evaluation.json comes along.  With --half the weights are rounded to 16 bits, so
that twice as many fit into the repository; then evaluate the new folder, whose numbers may differ in the last place.
"""

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inference import Run
from inference.runs.sharing import share
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate

PRETRAINED = Path(__file__).parent.parent / "pretrained"
CHECK = "check.json"
HOW = EvaluateOptions(num_images=200, m=[10], repeats=1, seed=0, products="default", device="cpu")


def add(run: Path, name: str, folder: Path = PRETRAINED, half: bool = False) -> Path:
    """Share a run into a folder and write what :func:`measured` gives; returns its place.

    Args:
        run: folder of the run.
        name: of its folder among the others.
        folder: where they are.
        half: round the weights to 16 bits.

    Raises:
        RunError, CheckpointError: if the run cannot be read, or there is one of this name.
        ValueError: if the name is a path.
    """
    if Path(name).name != name or name == "..":
        raise ValueError(f"{name!r} is no name of a folder in {folder}")
    with tempfile.TemporaryDirectory() as elsewhere:
        ready = share(Run.open(run), Path(elsewhere) / name, half)
        check = json.dumps(measured(ready.path), indent=2) + "\n"  # first: a run that cannot be measured is not added
        shared = share(ready, folder / name)
    (shared.path / CHECK).write_text(check)
    return shared.path


def measured(run: Path) -> dict[str, float]:
    """The negative bounds of a run on the first 200 test images, in nats, with fixed draws; the run stays unchanged."""
    with tempfile.TemporaryDirectory() as elsewhere:
        copy = share(Run.open(run), Path(elsewhere) / run.name)
        with contextlib.redirect_stdout(io.StringIO()):  # its report speaks of the copy
            record = evaluate(copy.path, HOW)
    bounds = {"negative_elbo": record["negative_elbo"], **record["negative_iwae"]}
    return {name if name == "negative_elbo" else f"negative_iwae_{name}": b["value"] for name, b in bounds.items()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a trained run")
    parser.add_argument("name", help="its name in pretrained/")
    parser.add_argument("--half", action="store_true", help="round the weights to 16 bits")
    given = parser.parse_args(argv)
    try:
        print(add(given.run, given.name, half=given.half))
    except (RuntimeError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
