"""Process-wide switches, restored after use."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pyro
import torch
from torch.distributions import Distribution

from inference.system.products import matmul_precision_as_it_was


@contextmanager
def validating(on: bool) -> Iterator[None]:
    """``pyro.validation_enabled`` that also restores torch's own switch.

    Pyro keeps a switch of its own and sets torch's from it on leaving, though the two may have differed.
    """
    of_torch = Distribution._validate_args
    try:
        with pyro.validation_enabled(on):
            yield
    finally:
        Distribution.set_default_validate_args(of_torch)


@contextmanager
def gradients_on() -> Iterator[None]:
    """Within, gradients are taken, in the precision of the tensors, whatever mode the caller is in.

    Autocast around a backward pass would round its products too, as it does those of a forward pass.
    """
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))  # which also ends ``torch.no_grad``
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def switches_as_they_were() -> Iterator[None]:
    """Restore validation, matmul precision, default dtype, grad mode and warning filters on leaving."""
    dtype, of_torch = torch.get_default_dtype(), Distribution._validate_args
    try:
        with (
            torch.set_grad_enabled(torch.is_grad_enabled()),
            warnings.catch_warnings(),
            matmul_precision_as_it_was(),
        ):
            yield
    finally:
        Distribution.set_default_validate_args(of_torch)
        torch.set_default_dtype(dtype)
