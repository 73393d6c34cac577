"""An epoch in one and two processes on this CPU, and a prediction for more machines.

Started by ``torchrun`` it is one of the processes: it trains and prints its measurements as JSON.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed
from timing import Group, Times

IMAGES, BATCH, EPOCHS = 20_000, 200, 6
# processes and threads of each; all take the same steps
WAYS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
# processes, and their link as its maker states it: bytes per second each way, and latency in seconds
LINKS = {
    "8 GPUs of one node (NVLink, 450 GB/s)": (8, 450e9, 10e-6),
    "64 GPUs, 8 nodes (50 GB/s each)": (64, 50e9, 30e-6),
}
# the step of a GPU is unknown here
STEPS = {"as measured": 1, "100 times as fast": 100}


def worker() -> None:
    import vae_peers
    from ours import epochs

    from inference import Images, Settings
    from inference.system.processes import join_processes

    rank, size = join_processes(cpu=True)
    torch.manual_seed(0)
    pixels = (torch.rand(IMAGES, *vae_peers.SHAPE) < 0.15).byte()
    train = Images("random", pixels, levels=2, binarisation="static")
    model, guide = vae_peers.pair()
    settings = Settings(epochs=EPOCHS, batch_size=BATCH // size, device="cpu", compile="on")
    seconds = epochs(model, guide, train, settings)
    numbers = sum(p.numel() for half in (model, guide) for p in half.parameters())
    found = {
        "epochs": seconds,
        "parameters": numbers,
        "all_reduce": _all_reduce(numbers, size),
    }
    if rank == 0:
        print(json.dumps(found))


def _all_reduce(numbers: int, size: int) -> float:
    """Seconds that the processes take to sum one gradient."""
    if size == 1:
        return 0.0
    gradient, seconds = torch.randn(numbers), []
    for _ in range(20):
        torch.distributed.barrier()
        started = time.perf_counter()
        torch.distributed.all_reduce(gradient)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def launched(processes: int, threads: int) -> dict:
    """The measurements of a run."""
    launcher = ("torch.distributed.run", "--standalone", f"--nproc_per_node={processes}")
    command = [sys.executable, "-m", *launcher, __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{processes} processes could not train:\n{done.stderr}")
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def predicted(step: float, numbers: int, processes: int, bandwidth: float, latency: float) -> dict:
    """Predicted speed-up over one process, with a ring all-reduce after every step and no overlap.

    .. math:: t = t_1 + 2 (n - 1) \\Big(\\frac{4 P}{n\\, b} + l\\Big)
    """
    reduce = 2 * (processes - 1) * (4 * numbers / (processes * bandwidth) + latency)
    return {
        "step_ms": round(1000 * step, 3),
        "all_reduce_ms": round(1000 * reduce, 3),
        "speed_up": round(processes * step / (step + reduce), 2),
    }


def measure(seconds: float) -> list[Group]:
    runs = {name: launched(*way) for name, way in WAYS.items()}
    times = {name: Times(run["epochs"]) for name, run in runs.items()}
    group = Group(f"epoch of {IMAGES:,} images, {BATCH} a step", times)
    alone, threads, two = WAYS
    group.compare(two, alone).compare(two, threads)
    numbers, all_reduce = runs[two]["parameters"], runs[two]["all_reduce"]
    step = times[alone].median / math.ceil(IMAGES / BATCH)
    group.notes.update(
        parameters=numbers,
        all_reduce_ms=round(1000 * all_reduce, 3),
        step_ms=round(1000 * step, 3),
        predictions={
            name: {what: predicted(step / factor, numbers, *link) for what, factor in STEPS.items()}
            for name, link in LINKS.items()
        },
    )
    return [group]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    worker()
