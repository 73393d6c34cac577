"""Find the device that does the work, and check that this machine has it.

What torch was built for does not tell: its usual Linux build is for CUDA and also runs on machines
without a GPU.
"""

import os
from typing import Any

import torch

BACKENDS = {"cuda": "nccl", "xpu": "xccl", "cpu": "gloo"}  # over which processes exchange what these devices hold
_BEST_FIRST = ("cuda", "xpu", "mps", "cpu")


def check_device(name: str) -> None:
    """Check that this is the name of a device, on this machine or another.

    Raises:
        ValueError: if it is not.
    """
    try:
        known = name == "auto" or torch.device(name).type != "meta"  # meta tensors hold no numbers
    except RuntimeError:
        known = False
    if not known:
        raise ValueError(f"device must be auto, cpu, cuda, cuda:1 (the second GPU) or mps (Apple); got {name!r}")


def find_device(name: str = "auto") -> torch.device:
    """The device for this process to use.

    "auto" is a GPU if torch can use one, otherwise the CPU.  Each of several processes on one machine
    takes its own GPU.

    Raises:
        ValueError: if this machine has no such device, or too few for its processes.
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
    """The index of this process on this machine, if several were started together."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return int(os.environ["LOCAL_RANK"]) if several and "LOCAL_RANK" in os.environ else None
