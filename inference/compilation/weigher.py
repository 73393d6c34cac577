"""Importance weights of many observations, from one compiled graph where that pays."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from inference.compilation.fallback import Compiler
from inference.programs.importance import checked_log_weights, log_weights_and_support
from inference.system.progress import Bar

_WORTH_COMPILING = 3_000_000  # pairs: at some 3 microseconds gained, the 10 s that compilation takes


class Weigher:
    """Log importance weights of a model and its guide, (count, B), compiled for the shape of the first call.

    Args:
        model: Pyro program p(x, latents).
        guide: Pyro program q(latents | x).
        pairs: the number of (sample, observation) pairs to come; compilation pays from 3 million on.
        backend: of ``torch.compile``.
    """

    def __init__(self, model: Callable, guide: Callable, pairs: int, backend: str = "inductor") -> None:
        self.pair: tuple[Any, Any] = (model, guide)
        self.backend = backend
        self._compiles = all(isinstance(half, nn.Module) for half in self.pair) and pairs >= _WORTH_COMPILING
        self._count = 0  # of the graph
        self._compiler: Compiler | None = None

    @torch.no_grad()
    def prepare(self, count: int, *data: Tensor) -> None:
        """Compile for this number of samples and data of this form; without it the first call does."""
        if self._compiles and self._compiler is None:
            weigh, self._count = partial(_weigh, count), count
            self._compiler = Compiler("importance weights run", nn.ModuleList(self.pair), weigh, self.backend)
            with Bar("compiling the importance weights"):
                self._compiler.graph_for(*data)

    def __call__(self, count: int, *data: Tensor) -> Tensor:
        self.prepare(count, *data)
        graph = self._compiler.graph_for(*data) if self._compiler is not None and count == self._count else None
        if graph is not None:
            log_w, in_support = graph(*data)
            if in_support:
                return log_w.clone()
        return checked_log_weights(*self.pair, count, *data)  # which names what lies outside the support


def _weigh(count: int, pair: Any, *data: Tensor) -> tuple[Tensor, Tensor]:
    model, guide = pair
    return log_weights_and_support(model, guide, count, *data)
