"""Which library multiplies float32 matrices on the CPU."""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Literal

import torch

Products = Literal["default", "onednn"]
Wanted = Literal["auto", "default", "onednn"]
_SHAPES = ((100, 784, 300), (300, 100, 784), (250, 512, 512))  # rows, terms of each sum, columns
_LARGEST_ERROR = 5e-6  # times the root of the number of terms
_CALLS = 15


def better_products() -> Products:
    """The library to use for a long job: oneDNN where it is faster than the default, with errors of float32 size.

    PyTorch computes float32 products by MKL, which is slow on some processors.  The precision "medium" lets
    oneDNN compute them, and round their factors to bfloat16 where the processor is built for that; on others it
    computes in float32 all the same.  So a few products decide, in some 50 ms, once for each number of threads.
    """
    return _probed(torch.get_num_threads()) if _precision() == "highest" else "default"


def chosen_products(wanted: Wanted, long: bool, device: torch.device) -> Products:
    """What multiplies the matrices of a job on this device, which is long enough for a try or not.

    On other devices the switch has another meaning, such as TF32 on NVIDIA's GPUs, so it stays as it is.
    """
    if device.type != "cpu":
        return "default"
    if wanted == "auto" and long:
        return better_products()
    if wanted != "onednn":
        return "default"
    if onednn_is_accurate():
        return "onednn"
    _warn_of_rounding()
    return "default"


@cache
def _warn_of_rounding() -> None:
    """Say it once: the command, the run and its continuation all ask."""
    warnings.warn(
        "oneDNN would round the factors of products on this machine: the default library multiplies, and the numbers "
        "differ by rounding from those of a run with oneDNN",
        stacklevel=4,
    )


@cache
def _probed(threads: int) -> Products:
    return "onednn" if onednn_is_accurate() and _relative_time() < 1 else "default"


def onednn_is_accurate() -> bool:
    """Whether oneDNN's float32 products here have the accuracy of float32."""
    if not torch.backends.mkldnn.is_available():
        return False
    with products_by("onednn"):
        return all(_error(*shape) <= _LARGEST_ERROR for shape in _SHAPES)


@contextmanager
def products_by(library: Products) -> Iterator[None]:
    """Within, this library multiplies float32 matrices on the CPU; a precision that the caller has lowered stays."""
    if library == "default" or _precision() != "highest":
        yield
        return
    with matmul_precision_as_it_was():
        torch.set_float32_matmul_precision("medium")
        yield


@contextmanager
def matmul_precision_as_it_was() -> Iterator[None]:
    """Restore the precision of float32 products on leaving."""
    precision = _precision()
    parts: list[Any] = [getattr(library, "matmul", None) for library in (torch.backends.mkldnn, torch.backends.cuda)]
    parts = [part for part in parts if hasattr(part, "fp32_precision")]  # newer versions of torch have these
    by_part = [part.fp32_precision for part in parts]
    try:
        yield
    finally:
        if precision is not None and _precision() != precision:
            torch.set_float32_matmul_precision(precision)
            for part, before in zip(parts, by_part, strict=True):
                part.fp32_precision = before


def _precision() -> str | None:
    """The process's precision of float32 products; None if it was set for some libraries alone."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _factors(rows: int, terms: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of float32 on the CPU, whatever dtype and device are the process's defaults."""
    draw = partial(torch.randn, generator=torch.Generator("cpu").manual_seed(0), dtype=torch.float32, device="cpu")
    return draw(rows, terms), draw(columns, terms).T


@torch.autocast("cpu", enabled=False)
def _error(rows: int, terms: int, columns: int) -> float:
    """The largest error of a product of standard normal numbers, divided by the root of the number of terms."""
    a, b = _factors(rows, terms, columns)
    return float((torch.mm(a, b) - torch.mm(a.double(), b.double())).abs().max()) / math.sqrt(terms)


@torch.autocast("cpu", enabled=False)
def _relative_time() -> float:
    """The time of the products by oneDNN, divided by that of the default: of the fastest calls, side by side."""
    totals = {"default": 0.0, "onednn": 0.0}
    for shape in _SHAPES:
        a, b = _factors(*shape)
        seconds: dict[Products, list[float]] = {"default": [], "onednn": []}
        for _ in range(_CALLS):
            for library, measured in seconds.items():
                with products_by(library):
                    started = time.perf_counter()
                    torch.mm(a, b)
                    measured.append(time.perf_counter() - started)
        for library, measured in seconds.items():
            totals[library] += min(measured)
    return totals["onednn"] / totals["default"]
