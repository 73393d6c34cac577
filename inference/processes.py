"""Several processes of one run: who this one is, and what each of them has, put together."""

import os
from itertools import zip_longest
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from inference.terms import Terms

Value = TypeVar("Value")


def join_processes(cpu: bool = False) -> tuple[int, int]:
    """Meet the other processes that ``torchrun`` or ``accelerate launch`` has started; (rank, how many).

    On a CPU, if that is asked for or there is nothing else, they talk through gloo.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        from accelerate import PartialState  # slow to import, and needed only here

        PartialState(cpu=on_cpu(cpu))
    return rank_and_size()


def on_cpu(asked_for: bool = False) -> bool:
    """Whether the CPU is used: accelerate would not share the work between processes if left to find out."""
    return asked_for or torch.accelerator.current_accelerator() is None


def rank_and_size() -> tuple[int, int]:
    """The number of this process among all, and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def share_of(count: int) -> Tensor:
    """The indices below ``count`` that fall to this process: every n-th one.

    Raises:
        ValueError: if there are fewer than processes.
    """
    rank, size = rank_and_size()
    if count < size:
        raise ValueError(f"{count} images cannot be shared by {size} processes: start at most {count}")
    return torch.arange(rank, count, size)


def of_every_process(value: Value) -> list[Value]:
    """The values that all processes give here, in order; all must come to this point."""
    _, size = rank_and_size()
    if size == 1:
        return [value]
    values: list[Value | None] = [None] * size
    distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def mean_of_processes(value: Tensor) -> Tensor:
    """The mean of what all processes give here, without a gradient; all must come to this point.

    Raises:
        NotImplementedError: if a graph is being recorded, which cannot ask the others.
    """
    _, size = rank_and_size()
    if size == 1:
        return value.detach()
    if get_proxy_mode() is not None:
        raise NotImplementedError("a mean of all processes cannot be recorded in a graph")
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / size


def shares_joined(share: Tensor) -> Tensor:
    """One value for each index, (count,), from every process's values of its :func:`share_of` them."""
    shares = of_every_process(share.cpu())
    joined = torch.empty(sum(map(len, shares)), dtype=share.dtype)
    for rank, values in enumerate(shares):
        joined[rank :: len(shares)] = values
    return joined


def batches_joined(terms: list[Terms]) -> list[Terms]:
    """Batch by batch, the terms of all processes' images."""
    if rank_and_size()[1] == 1:
        return terms
    rows = zip_longest(*of_every_process([(t.kl.cpu(), t.reconstruction.cpu()) for t in terms]))
    return [Terms(*(torch.cat(parts, dim=-1) for parts in zip(*filter(None, row), strict=True))) for row in rows]
