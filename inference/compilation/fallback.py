"""Record and compile; where that cannot be done, run the function itself and warn once, saying why."""

import warnings
from collections.abc import Callable

from torch import Tensor, nn

from inference.compilation.graph import BufferChangedError, CompiledGraph, form_of


class Compiler:
    """Holds the graph of a function, recorded at the first call that it can be recorded at.

    Args:
        what: the beginning of the warning, such as "training runs".
        module: as for :class:`CompiledGraph`.
        function: as for :class:`CompiledGraph`.
        backend: of ``torch.compile``.
        attempts: how often to record.  All but the last give up quietly where a buffer changes, for
            parts may be initialising themselves; the last makes such buffers inputs of the graph.
    """

    def __init__(self, what: str, module: nn.Module, function: Callable, backend: str, attempts: int = 1) -> None:
        self.what = what
        self.module = module
        self.function = function
        self.backend = backend
        self.attempts = attempts
        self.graph: CompiledGraph | None = None

    def settle(self) -> None:
        """Say that no part is initialising itself any more: a buffer that changes becomes an input at once."""
        self.attempts = min(self.attempts, 1)

    def graph_for(self, *tensors: Tensor) -> CompiledGraph | None:
        """The graph, if there is one for tensors of this form and the module as it is now."""
        if self.graph is None and self.attempts:
            self.attempts -= 1
            self.graph = self._record(tensors)
        if self.graph is None or self.graph.form != form_of(tensors):
            return None
        if self.graph.module_changed():
            self.graph, self.attempts = None, 0
            self._warn("model or guide were changed")
        return self.graph

    def _record(self, tensors: tuple[Tensor, ...]) -> CompiledGraph | None:
        try:
            try:
                return CompiledGraph(self.module, self.function, *tensors, backend=self.backend)
            except BufferChangedError as error:
                if self.attempts:
                    return None
                varying = error.names
            return CompiledGraph(self.module, self.function, *tensors, varying=varying, backend=self.backend)
        except Exception as error:  # whatever a program, or a compiler, raises
            self.attempts = 0
            self._warn(_cause_of(error))
            return None

    def _warn(self, why: str) -> None:
        warnings.warn(f"{self.what} without compilation: {why}", stacklevel=5)


def _cause_of(error: Exception) -> str:
    """Why there is no graph, in one line."""
    if "DataDependent" in type(error).__name__:
        return "a branch of model, guide or objective depends on the data"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]  # a compiler names itself, then the cause
    return f"{type(error).__name__}: {said}"
