"""Measure how time and memory grow with the size of the work, and write results/growth.json and its figure.

Every point is measured in a fresh process: with ``--point`` this is one, which prints its measurements as JSON.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from growth_figure import growth_figure
from growth_work import CURVES, Curve, start_up, write_file
from run import ROOT, describe_machine

from inference.figures.style import as_bytes
from inference.system.files import write_whole

MEGABYTE = 1e6


def worker(name: str, size: int) -> None:
    seconds = CURVES[name].seconds(size)
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))


def peak_memory() -> int:
    """The most bytes of memory that this process has held; Linux's ``ru_maxrss`` also counts its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def point(name: str, size: int) -> dict[str, Any]:
    """Time and peak memory at one size."""
    curve = CURVES[name]
    with TemporaryDirectory() as folder:
        if curve.seconds is start_up:
            write_file(size, Path(folder))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__, "--point", name, str(size)]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        whole = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{name} of {size} {curve.size} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "size": size,
        "work": curve.work(size),
        "seconds": statistics.median(found["seconds"] or [whole]),
        "peak_mb": round(found["peak"] / MEGABYTE, 1),
        "held_mb": round(curve.held * size / MEGABYTE, 1),
    }


def slopes(work: list[float], seconds: list[float]) -> tuple[float, float]:
    """Slope of log seconds against log work: by least squares, and between the neighbours where it is steepest."""
    x, y = ([math.log(value) for value in values] for values in (work, seconds))
    steepest = max((y1 - y0) / (x1 - x0) for (x0, x1), (y0, y1) in zip(pairwise(x), pairwise(y), strict=True))
    return statistics.linear_regression(x, y).slope, steepest


def measured(name: str, curve: Curve) -> dict[str, Any]:
    points = [point(name, size) for size in curve.sizes]
    overall, steepest = slopes([p["work"] for p in points], [p["seconds"] for p in points])
    found = {"what": name, "size": curve.size, "slope": round(overall, 3), "steepest": round(steepest, 3)}
    print(f"\n{name} against {curve.size}: slope {overall:.2f}, at most {steepest:.2f}")
    for p in points:
        print(f"  {p['size']:>10,}  {p['seconds']:10.4f} s  {p['peak_mb']:8.1f} MB, {p['held_mb']:.1f} of data")
    return {**found, "points": points}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CURVES, default=list(CURVES), help="curves to measure")
    parser.add_argument("--out", type=Path, default=Path("results/growth.json"), help="file for the record")
    parser.add_argument("--point", nargs=2, metavar=("CURVE", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        worker(options.point[0], int(options.point[1]))
        return
    if options.out.is_dir():
        parser.error(f"--out must be a file; {options.out} is a folder")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {**describe_machine(), "curves": [measured(name, CURVES[name]) for name in options.only]}
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    picture = options.out.with_suffix(".png")
    write_whole(picture, as_bytes(growth_figure(record), "png", dpi=100))
    print(f"\n{options.out}\n{picture}")


if __name__ == "__main__":
    main()
