"""Modules that a function uses without ``pyro.module``, and that are therefore not trained."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from inference.programs.functions import FunctionModule


def unregistered_modules(loss: Tensor, *programs: nn.Module) -> list[str]:
    """The names of modules that functions refer to, whose parameters move the loss but are none of the programs'."""
    held = {id(parameter) for program in programs for parameter in program.parameters()}
    found = []
    for name, module in _referred_to(*programs).items():
        outside = [p for p in module.parameters() if p.requires_grad and id(p) not in held]
        gradients = torch.autograd.grad(loss, outside, retain_graph=True, allow_unused=True) if outside else ()
        if any(gradient is not None for gradient in gradients):
            found.append(name)
    return found


def _referred_to(*programs: nn.Module) -> dict[str, nn.Module]:
    """The modules among the variables that functions see, and among the attributes of what methods belong to."""
    seen: dict[str, object] = {}
    for program in programs:
        function = program.function if isinstance(program, FunctionModule) else None
        if inspect.isfunction(function) or inspect.ismethod(function):
            variables = inspect.getclosurevars(function)
            seen |= {**variables.globals, **variables.nonlocals, **_attributes(function)}
    return {name: value for name, value in seen.items() if isinstance(value, nn.Module)}


def _attributes(function: Callable) -> dict[str, object]:
    owner = getattr(function, "__self__", None)
    return dict(owner.named_children()) if isinstance(owner, nn.Module) else dict(getattr(owner, "__dict__", {}))
