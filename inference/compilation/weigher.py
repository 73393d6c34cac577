"""Importance weights of many images, by one compiled graph where that is worth its while."""

import warnings
from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call

from inference.compilation.graph import CompiledGraph, Named, cause_of, form_of
from inference.programs.importance import checked_log_weights, log_weights_and_support

_WORTH_COMPILING = 3_000_000  # (sample, image) pairs: at some 5 microseconds gained, the 15 s that compilation takes


class Weigher:
    """Log importance weights of one pair, (count, B), compiled for the count and the batch of the first call.

    Args:
        model: Pyro program p(x, latents).
        guide: Pyro program q(latents | x).
        pairs: how many (sample, image) pairs there will be in all.
        backend: of ``torch.compile``.
    """

    def __init__(self, model: Callable, guide: Callable, pairs: int, backend: str = "inductor") -> None:
        self.pair = (model, guide)
        self.backend = backend
        self._graph: CompiledGraph | None = None
        self._count = 0  # of the graph
        modules = isinstance(model, nn.Module) and isinstance(guide, nn.Module)
        self._tried = not modules or pairs < _WORTH_COMPILING

    def __call__(self, count: int, *data: Tensor) -> Tensor:
        if not self._tried:
            self._tried, self._count, self._graph = True, count, self._recorded(count, data)
        graph = self._graph
        if graph is None or count != self._count or graph.form != form_of(data) or graph.module_changed():
            return checked_log_weights(*self.pair, count, *data)
        log_w, in_support = graph(*data)
        return log_w.clone() if in_support else checked_log_weights(*self.pair, count, *data)  # which says what is not

    def _recorded(self, count: int, data: tuple[Tensor, ...]) -> CompiledGraph | None:
        pair = _Pair(*self.pair, count)  # type: ignore[arg-type]

        def weights_of(parameters: Named, buffers: Named, *data: Tensor) -> tuple[Tensor, Tensor]:
            return functional_call(pair, {**parameters, **buffers}, data)

        try:
            return CompiledGraph(pair, weights_of, *data, backend=self.backend)
        except Exception as error:  # whatever a program, or a compiler, does
            warnings.warn(f"importance weights run without compilation: {cause_of(error)}", stacklevel=4)
            return None


class _Pair(nn.Module):
    def __init__(self, model: nn.Module, guide: nn.Module, count: int) -> None:
        super().__init__()
        self.model = model
        self.guide = guide
        self.count = count

    def forward(self, *data: Tensor) -> tuple[Tensor, Tensor]:
        return log_weights_and_support(self.model, self.guide, self.count, *data)
