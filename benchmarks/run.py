"""Time this project against other programs and write results/bench.json.

Every ratio is of programs timed side by side.  With ``--only``, what the file says of other comparisons is kept.
"""

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from processor import describe_processor

from inference.system.environment import describe_environment, threads_in_words
from inference.system.products import better_products

PEERS = ("zuko", "nflows", "normflows", "numpyro", "jax")
ROOT = Path(__file__).parents[1]
MODULES = ("vae_step", "epoch", "mnist", "bounds", "flows", "image", "startup", "commands", "scaling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MODULES, default=MODULES, help="comparisons to run")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for the repeats of a comparison")
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"), help="file for the record")
    options = parser.parse_args()
    if not options.seconds > 0:
        parser.error(f"--seconds must be positive; got {options.seconds}")
    if options.out.is_dir():
        parser.error(f"--out must be a file; {options.out} is a folder")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    whole = tuple(options.only) == MODULES or not options.out.is_file()
    found = {} if whole else json.loads(options.out.read_text())
    for name in options.only:
        part = measured(name, options.seconds) if len(options.only) == 1 else measured_apart(name, options.seconds)
        found = {**machine, **joined(found, part, machine["commit"])}
        options.out.write_text(json.dumps(found, indent=2) + "\n")  # after each, since a later one may fail
    print(f"\n{options.out}")


def joined(before: dict[str, Any], part: dict[str, list[Any]], commit: str | None) -> dict[str, list[Any]]:
    """An earlier record's comparisons and new ones, which replace those of the same work; each with its commit."""
    labels = {"rows": "name", "groups": "what"}
    found = {}
    for key, label in labels.items():
        again = {entry[label] for entry in part[key]}
        kept = [entry for entry in before.get(key, []) if entry[label] not in again]
        kept = [{"commit": before["commit"], **entry} for entry in kept]
        found[key] = kept + [{**entry, "commit": commit} for entry in part[key]]
    return found


def describe_machine() -> dict[str, Any]:
    """What a record says about where and when it was measured."""
    environment, processor = describe_environment(), {**describe_processor(), "products": better_products()}
    kept = {key: environment[key] for key in ("command", "started", "commit", "platform", "versions")}
    for name in PEERS:
        with suppress(PackageNotFoundError):
            kept["versions"][name] = version(name)
    words = [processor["name"], *processor["instructions"], threads_in_words(processor["threads"])]
    return {**kept, "machine": ", ".join(words), "processor": processor}


def measured(name: str, seconds: float) -> dict[str, list[Any]]:
    """Run and print the comparisons of one module; returns their records."""
    groups = importlib.import_module(name).measure(seconds)
    for group in groups:
        group.show()
    return {"rows": [row for group in groups for row in group.rows], "groups": [group.record() for group in groups]}


def measured_apart(name: str, seconds: float) -> dict[str, list[Any]]:
    """The same in a process of its own, so that one module's libraries do not slow the next."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "part.json")
        command = [sys.executable, __file__, "--only", name, "--seconds", str(seconds), "--out", str(out)]
        subprocess.run(command, check=True)
        return json.loads(out.read_text())


if __name__ == "__main__":
    main()
