"""A module's computation as one flat graph, recorded once and compiled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

Named = dict[str, Tensor]


class CompiledGraph:
    """A function of a module's weights, its buffers and some tensors, compiled for tensors of one form.

    Pyro's handlers, traces and checks run while the graph is recorded and are gone afterwards; what
    Python computes is recorded as it came out then.  Random draws are made anew at every call, on a
    CPU the very draws that the function itself would make.

    Args:
        module: its parameters and its buffers of floats are read at every call; other buffers were
            read once, since a program may index by them, or branch.
        function: of weights and buffers, both by name, and the tensors.
        tensors: of the form that the graph is for.
        backend: of ``torch.compile``.

    Raises:
        Exception: whatever the function or the compiler raises; where a value decides what is
            computed, no graph can be recorded.

    Source: Ansel et al., "PyTorch 2" (2024).
    """

    def __init__(self, module: nn.Module, function: Callable, *tensors: Tensor, backend: str = "inductor") -> None:
        self.form = form_of(tensors)
        self.weights: Named = dict(module.named_parameters())
        self._owners = dict(_owners_of_buffers(module))
        self._device = tensors[0].device
        cpu = self._device.type == "cpu"
        options: dict[str, Any] = {"fallback_random": True} if cpu else {"triton.cudagraphs": True}
        with torch.random.fork_rng([] if cpu else [self._device]):
            with _recording():
                record = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)  # computes nothing yet
                graph = record(self.weights, self._buffers(), *tensors)
            self._graph = torch.compile(
                graph,
                fullgraph=True,
                dynamic=False,
                backend=backend,
                options=options if backend == "inductor" else None,
            )
            self._run({name: buffer.clone() for name, buffer in self._buffers().items()}, tensors)

    def __call__(self, *tensors: Tensor) -> Any:
        """What the function gives; on a GPU the next call writes over it."""
        return self._run(self._buffers(), tensors)

    def _run(self, buffers: Named, tensors: tuple[Tensor, ...]) -> Any:
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):  # casts are in the graph
            if self._device.type != "cpu":
                torch.compiler.cudagraph_mark_step_begin()
            return self._graph(self.weights, buffers, *tensors)

    def _buffers(self) -> Named:
        return {name: getattr(owner, name.rpartition(".")[2]) for name, owner in self._owners.items()}


def form_of(tensors: tuple[Tensor, ...]) -> Any:
    """What a graph is recorded for: the shapes, types and places of its inputs."""
    return [(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors]


def cause_of(error: Exception) -> str:
    """One line on why there is no graph."""
    if "DataDependent" in type(error).__name__:
        return "a branch of model, guide or objective depends on the data"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def _owners_of_buffers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            yield name, module.get_submodule(name.rpartition(".")[0])


@contextmanager
def _recording() -> Iterator[None]:
    """Within, nothing is taken off a tensor, and Pyro does not look for NaN."""
    util: Any = pyro.util
    isnan, cache = util.torch_isnan, torch.is_autocast_cache_enabled()
    util.torch_isnan = lambda _: False
    torch.set_autocast_cache_enabled(False)  # it would keep what is recorded
    try:
        with pyro.validation_enabled(False), _OnTensors():
            yield
    finally:
        util.torch_isnan = isnan
        torch.set_autocast_cache_enabled(cache)


class _OnTensors(TorchFunctionMode):
    """Numbers that Pyro's estimators take off tensors, to be added to others, stay tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0].detach() if func is Tensor.item else func(*args, **(kwargs or {}))
