"""Matrix products in float32 by oneDNN, which PyTorch's wheels contain beside the default library."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timing import Program

ROUNDING = 5e-6  # largest error of a product of K terms, over the square root of K


@contextmanager
def one_dnn() -> Iterator[None]:
    """Compute float32 products by oneDNN.

    The setting allows bf16, but a processor without instructions for it computes in float32, see :func:`is_accurate`.
    """
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def is_accurate() -> bool:
    """Whether oneDNN's products have the accuracy of float32 on this processor."""
    a, b = torch.randn(100, 784), torch.randn(784, 300)
    with one_dnn():
        error = (a @ b).double() - a.double() @ b.double()
    return bool(error.abs().max() < ROUNDING * 784**0.5)


def by_one_dnn(program: Callable[[], None]) -> Program:
    """The program with its products by oneDNN, where these are accurate; otherwise unchanged."""
    if not is_accurate():
        return program

    def run() -> None:
        with one_dnn():
            program()

    return run
