"""Evaluation mode, and back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*programs: Callable) -> Iterator[None]:
    """Put programs that are modules into evaluation mode, and afterwards every part into its own mode again."""
    halves = [program for program in programs if isinstance(program, nn.Module)]
    modes = [(module, module.training) for half in halves for module in half.modules()]
    for half in halves:
        half.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
