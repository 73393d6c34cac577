"""Time this project beside others, side by side in one run, and write results/bench.json."""

import argparse
import importlib
import json
from pathlib import Path

from timing import Group

from inference import describe_environment

MODULES = ("vae_step", "epoch", "bounds", "flows", "startup", "scaling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MODULES, default=MODULES, help="which comparisons to run")
    parser.add_argument("--repeats", type=int, default=15, help="timed calls of each program; fewer of long ones")
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"), help="file for the record")
    options = parser.parse_args()
    if options.repeats < 2:
        parser.error(f"--repeats must be at least 2; got {options.repeats}")
    if options.out.is_dir():
        parser.error(f"--out must be a file; {options.out} is a folder")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    environment = describe_environment()
    kept = {key: environment[key] for key in ("command", "started", "commit", "machine", "platform", "versions")}
    groups: list[Group] = []
    for name in options.only:
        for group in importlib.import_module(name).measure(options.repeats):
            group.show()
            groups.append(group)
        rows = [row for group in groups for row in group.rows]
        record = {**kept, "rows": rows, "groups": [group.record() for group in groups]}
        options.out.write_text(json.dumps(record, indent=2) + "\n")  # after each: a later one may fail
    print(f"\n{options.out}")


if __name__ == "__main__":
    main()
