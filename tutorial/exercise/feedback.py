"""Compare an answer with the right one, and name the mistake where it is a usual one."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

Mistakes = Iterable[tuple[str, Tensor]]


def same(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and torch.allclose(left, right, rtol=1e-4, atol=1e-5)


def compare(name: str, answer: object, right: Tensor, mistakes: Mistakes = (), hint: str = "") -> None:
    """Raise an AssertionError unless the answer is right; each mistake is a message and the answer it leads to."""
    if not isinstance(answer, Tensor | int | float):
        raise AssertionError(f"{name} is {type(answer).__name__}, expected a tensor: does the function return it?")
    answer, right = torch.as_tensor(answer).detach().to(right.dtype), right.detach()
    if same(answer, right):
        return
    for message, wrong in mistakes:
        if same(answer, wrong.detach()):
            raise AssertionError(f"{name}: {message}")
    if answer.shape != right.shape:
        raise AssertionError(f"{name} has shape {tuple(answer.shape)}, expected {tuple(right.shape)}. {hint}".rstrip())
    found = f"{answer:.4f}, expected {right:.4f}" if right.dim() == 0 else "not what was expected"
    raise AssertionError(f"{name} is {found}. {hint}".rstrip())


def unpacked(name: str, answers: object, parts: Sequence[str]) -> tuple:
    """The answers, if the function returned as many as it should."""
    if not isinstance(answers, tuple | list) or len(answers) != len(parts):
        raise AssertionError(f"{name} must return {len(parts)} values: {', '.join(parts)}")
    return tuple(answers)


@contextmanager
def replaced(function: Callable, **others: object):
    """Other functions of the notebook give way to right ones: a mistake costs the points of its own question only."""
    with patch.dict(function.__globals__, others):
        yield


@contextmanager
def seeded(seed: int):
    """Random numbers that start from a seed; afterwards the notebook's own go on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
