"""Which device does the work: the one that is asked for, where this machine really has it.

What torch was built for says nothing of that: its usual build for Linux is one for CUDA, and runs
on machines without a GPU as well.
"""

import os
from typing import Any

import torch

BACKENDS = {"cuda": "nccl", "xpu": "xccl", "cpu": "gloo"}  # by which processes join what these devices hold
_BEST_FIRST = ("cuda", "xpu", "mps", "cpu")


def check_device(name: str) -> None:
    """Make sure that a device, of this machine or of another, could be called so.

    Raises:
        ValueError: if not.
    """
    try:
        known = name == "auto" or torch.device(name).type != "meta"  # which holds no numbers
    except RuntimeError:
        known = False
    if not known:
        raise ValueError(f"device must be auto, cpu, cuda, cuda:1 (the second GPU) or mps (Apple); got {name!r}")


def find_device(name: str = "auto") -> torch.device:
    """The device that this process is to use.

    "auto" is a GPU where torch can use one, and the CPU elsewhere.  Of several processes on a machine
    each takes a GPU of its own.

    Raises:
        ValueError: if there is no such device here, or not one for each process.
    """
    check_device(name)
    place = _place_among_processes()
    if name == "auto":
        device = torch.device(next(kind for kind in (_BEST_FIRST if place is None else BACKENDS) if _count(kind)))
    else:
        device = torch.device(name)
    count = _count(device.type)
    if count <= (device.index or 0):
        here = ", ".join(kind for kind in _BEST_FIRST if _count(kind))
        raise ValueError(f"torch finds no device {name} on this machine; it finds {here}")
    if place is None or device.type == "cpu":
        return device
    if device.index is not None or device.type not in BACKENDS:
        raise ValueError(f"several processes cannot share the device {name}: choose cuda, one GPU for each, or cpu")
    if count <= place:
        raise ValueError(f"there are more processes on this machine than its {count} GPU(s): start one for each")
    return torch.device(device.type, place)


def _count(kind: str) -> int:
    """How many devices of a kind torch can use here."""
    module: Any = getattr(torch, kind, None)
    return module.device_count() if hasattr(module, "device_count") and module.is_available() else 0


def _place_among_processes() -> int | None:
    """The number of this process among those of this machine, if several were started together."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return int(os.environ["LOCAL_RANK"]) if several and "LOCAL_RANK" in os.environ else None
