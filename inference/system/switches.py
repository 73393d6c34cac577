"""Switches of the whole process, put back as they were found."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from torch.distributions import Distribution


@contextmanager
def validating(on: bool) -> Iterator[None]:
    """``pyro.validation_enabled``, after which torch's own switch too is what it was.

    Pyro keeps a switch beside that of torch and puts torch's back by its own, though the two may differ.
    """
    of_torch = Distribution._validate_args
    try:
        with pyro.validation_enabled(on):
            yield
    finally:
        Distribution.set_default_validate_args(of_torch)


@contextmanager
def switches_as_they_were() -> Iterator[None]:
    """Afterwards validation, precision of matrix products, default dtype, gradients and warnings are what they were."""
    precision, dtype = torch.get_float32_matmul_precision(), torch.get_default_dtype()
    of_torch = Distribution._validate_args
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()), warnings.catch_warnings():
            yield
    finally:
        Distribution.set_default_validate_args(of_torch)
        torch.set_default_dtype(dtype)
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)
