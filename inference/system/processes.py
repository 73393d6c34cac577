"""A run over several processes: the rank of this one, and collective operations."""

import atexit
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from inference.system.devices import BACKENDS, find_device

Value = TypeVar("Value")


class ProcessError(RuntimeError):
    """Another process of the run has failed or cannot be reached."""


def join_processes(device: str = "auto", *, cpu: bool = False) -> tuple[int, int]:
    """Join the other processes that ``torchrun`` has started; returns (rank, world size).

    They communicate through gloo on CPUs and through nccl on NVIDIA GPUs.  This process leaves the
    group when it ends.

    Args:
        device: does the work, see :func:`~inference.system.devices.find_device`.
        cpu: the same as the device "cpu".

    Raises:
        ValueError: if this machine does not have the device.
        ProcessError: if others were started, but did not join.
    """
    expected = int(os.environ.get("WORLD_SIZE", 1))
    if expected > 1 and distributed.is_available() and not distributed.is_initialized():
        place = find_device("cpu" if cpu else device)
        if place.index is not None:
            torch.get_device_module(place).set_device(place)
        distributed.init_process_group(BACKENDS[place.type])
        atexit.register(leave_processes)  # otherwise its threads may abort a process that is ending
    rank, size = rank_and_size()
    if expected > 1 and size != expected:  # each would train by itself, and all write to the same run
        raise ProcessError(f"{expected} processes were started together, but this one is in a group of {size}")
    return rank, size


def leave_processes() -> None:
    """Leave the group of processes, if there is one.

    gloo's threads free the tensors of the last sums, for which they need Python's lock.  Before 2.8, torch waits for
    them while it holds that lock, for ever (pytorch/pytorch#154976): a short sleep releases it.
    """
    if distributed.is_available() and distributed.is_initialized():
        time.sleep(0.1)
        distributed.destroy_process_group()


@contextmanager
def others_awaited() -> Iterator[None]:
    """Report a broken connection to another process as the failure of that process.

    Raises:
        ProcessError: in place of the library's own error: nccl has a type for it, gloo raises a plain
            RuntimeError that names a file of its sources.
    """
    try:
        yield
    except RuntimeError as error:
        from_gloo = type(error) is RuntimeError and "/gloo/transport/" in str(error)
        if rank_and_size()[1] > 1 and (from_gloo or isinstance(error, distributed.DistError)):
            raise ProcessError("another process has failed: its message says why") from error
        raise


def rank_and_size() -> tuple[int, int]:
    """The rank of this process, and the world size."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def share_of(count: int) -> Tensor:
    """This process's share of the indices below ``count``: every n-th one for n processes.

    Raises:
        ValueError: if there are fewer indices than processes.
    """
    rank, size = rank_and_size()
    if count < size:
        raise ValueError(f"{count} observations cannot be split over {size} processes: start at most {count}")
    return torch.arange(rank, count, size, device="cpu")


def of_every_process(value: Value) -> list[Value]:
    """The values of all processes, in order of rank; every process must call this."""
    _, size = rank_and_size()
    if size == 1:
        return [value]
    values: list[Value | None] = [None] * size
    with others_awaited():
        distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def mean_of_processes(value: Tensor) -> Tensor:
    """The mean of all processes' values, without a gradient; every process must call this.

    Raises:
        NotImplementedError: while a graph is being recorded, since it cannot communicate.
    """
    _, size = rank_and_size()
    if size == 1:
        return value.detach()
    if get_proxy_mode() is not None:
        raise NotImplementedError("a mean of all processes cannot be recorded in a graph")
    total = value.detach().clone()
    with others_awaited():
        distributed.all_reduce(total)
    return total / size


def shares_joined(share: Tensor) -> Tensor:
    """One value for each index, (count,), from each process's values for its :func:`share_of` the indices."""
    shares = of_every_process(share.cpu())
    joined = torch.empty(sum(map(len, shares)), dtype=share.dtype, device="cpu")
    for rank, values in enumerate(shares):
        joined[rank :: len(shares)] = values
    return joined
