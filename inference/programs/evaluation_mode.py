"""Evaluation mode and training mode, and back."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pyro
from pyro.poutine.messenger import Messenger
from torch import nn


@contextmanager
def evaluating(*programs: Callable) -> Iterator[None]:
    """Put programs that are modules into evaluation mode, and afterwards every part into its own mode again.

    The same goes for the modules that functions pass to ``pyro.module``.
    """
    modules = [program for program in programs if isinstance(program, nn.Module)]
    with ExitStack() as modes:
        for module in modules:
            modes.enter_context(_evaluating(module))
        if len(modules) < len(programs):
            modes.enter_context(ModulesFound())
        yield


@contextmanager
def modes_kept(*modules: nn.Module) -> Iterator[None]:
    """Put every part into its own mode again afterwards."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    with modes_kept(module):
        module.eval()
        yield


def frozen_parts(module: nn.Module) -> list[nn.Module]:
    """The outermost submodules in evaluation mode whose parameters are all frozen."""
    found = []
    for part in module.children():
        parameters = list(part.parameters())
        if parameters and not part.training and not any(p.requires_grad for p in parameters):
            found.append(part)
        else:
            found += frozen_parts(part)
    return found


class ModulesFound(Messenger):
    """The modules that programs pass to ``pyro.module`` inside, by name; there they are in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.modules: dict[str, nn.Module] = {}
        self._modes = ExitStack()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._modes.close()

    def _pyro_param(self, message: Any) -> None:
        """Look for the module among the callers: the message holds one of its parameters alone."""
        frame = inspect.currentframe()
        while frame is not None and frame.f_code is not pyro.module.__code__:
            frame = frame.f_back
        if frame is not None and frame.f_locals["name"] not in self.modules:
            self.modules[frame.f_locals["name"]] = frame.f_locals["nn_module"]
            self._modes.enter_context(_evaluating(frame.f_locals["nn_module"]))
