"""Whether bfloat16 saves time on this processor."""

import time
import warnings
from functools import cache

import torch
from torch.nn.functional import linear

_SLOWER = 2.0  # times as long as float32: where processors compute in bfloat16, it takes about half as long
_CALLS = 3


@cache
def warn_if_bfloat16_is_slow() -> None:
    """Warn, once in a process, if this CPU is slower in bfloat16 than in float32; it times two small products."""
    ratio = _seconds(torch.bfloat16) / _seconds(torch.float32)
    if ratio > _SLOWER:
        warnings.warn(
            f"bfloat16 is slow on this processor: a small product takes {ratio:.0f} times as long as in float32. "
            "Leave mixed_precision out here, unless you want to repeat a run",
            stacklevel=3,
        )


@torch.autocast("cpu", enabled=False)
def _seconds(dtype: torch.dtype) -> float:
    """Of the fastest product, after a first that may prepare something."""
    x, weight = (torch.ones(128, 256, dtype=dtype, device="cpu") for _ in range(2))
    seconds = []
    for _ in range(_CALLS + 1):
        started = time.perf_counter()
        linear(x, weight)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
