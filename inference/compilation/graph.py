"""A module's computation as one flat graph, recorded once and compiled."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from inference.system.switches import switches_as_they_were, validating

Named = dict[str, Tensor]


class BufferChangedError(RuntimeError):
    """Buffers that the graph would hold as constants changed while it was recorded.

    Args:
        names: of the buffers.
    """

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(f"buffers change in a way that no graph can record: {', '.join(sorted(names))}")
        self.names = names


class CompiledGraph:
    """A function of a module's parameters, its buffers and some tensors, compiled for tensors of one form.

    Pyro's handlers, traces and checks run while the graph is recorded and are gone afterwards; what
    Python computes is recorded as it came out then.  Random draws are made anew at every call, on a
    CPU the very draws that the function itself would make.

    Args:
        module: its parameters and its buffers of floats are read at every call; other buffers were
            read once, since a program may index by them, or branch.
        function: of parameters and buffers, both by name, and the tensors.
        tensors: of the form that the graph is for.
        varying: names of other buffers to be read at every call.
        backend: of ``torch.compile``.

    Raises:
        BufferChangedError: if a buffer that is read once is changed, or one is replaced, not written to.
        Exception: whatever the function or the compiler raises; where a value decides what is
            computed, no graph can be recorded.

    Source: Ansel et al., "PyTorch 2" (2024).
    """

    def __init__(
        self,
        module: nn.Module,
        function: Callable,
        *tensors: Tensor,
        varying: Collection[str] = (),
        backend: str = "inductor",
    ) -> None:
        self.form = form_of(tensors)
        self.parameters: Named = dict(module.named_parameters())
        self.calls = 0
        self._module = module
        self._make_up = _make_up_of(module)
        self._owners = {
            name: module.get_submodule(name.rpartition(".")[0])
            for name, buffer in module.named_buffers()
            if buffer.is_floating_point() or name in varying
        }
        self._device = tensors[0].device
        cpu = self._device.type == "cpu"
        options: dict[str, Any] = {"fallback_random": True} if cpu else {"triton.cudagraphs": True}
        # torch switches validation off when it first compiles anything, for the whole process
        with switches_as_they_were(), torch.random.fork_rng([] if cpu else [self._device]):
            with _recording(), _left_as_it_was(module, self._owners):
                record = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)  # computes nothing yet
                graph = record(self.parameters, self._buffers(), *tensors)
            self._graph = torch.compile(
                graph,
                fullgraph=True,
                dynamic=False,
                backend=backend,
                options=options if backend == "inductor" else None,
            )
            # compiles now; on copies, for nothing is to change by it
            self._run({name: buffer.clone() for name, buffer in self._buffers().items()}, tensors)

    def module_changed(self) -> bool:
        """Whether the module is made of other modules or parameters than it was, or they are in another mode."""
        return self._make_up != _make_up_of(self._module)

    def __call__(self, *tensors: Tensor) -> Any:
        """What the function gives; on a GPU the next call writes over it."""
        self.calls += 1
        return self._run(self._buffers(), tensors)

    def _run(self, buffers: Named, tensors: tuple[Tensor, ...]) -> Any:
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):  # casts are in the graph
            if self._device.type != "cpu":
                torch.compiler.cudagraph_mark_step_begin()
            return self._graph(self.parameters, buffers, *tensors)

    def _buffers(self) -> Named:
        return {name: getattr(owner, name.rpartition(".")[2]) for name, owner in self._owners.items()}


def form_of(tensors: tuple[Tensor, ...]) -> Any:
    """What a graph is recorded for: shapes, types and places of its inputs, and whether autocast is on."""
    forms = [(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors]
    return forms, torch.is_autocast_enabled(tensors[0].device.type)


def _make_up_of(module: nn.Module) -> list[Any]:
    """Which modules and parameters a module is made of, their modes, and which of them are trained."""
    make_up: list[Any] = []
    for part in module.modules():
        make_up += (id(part), part.training)
        for parameter in part._parameters.values():
            if parameter is not None:
                make_up += (id(parameter), parameter.requires_grad, parameter.dtype)
    return make_up


def cause_of(error: Exception) -> str:
    """One line on why there is no graph."""
    if "DataDependent" in type(error).__name__:
        return "a branch of model, guide or objective depends on the data"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


@contextmanager
def _left_as_it_was(module: nn.Module, inputs: Collection[str]) -> Iterator[None]:
    """Within, a module may be run on stand-ins for tensors; afterwards it is what it was.

    ``functional_call`` does not put back the tensors of a module that is there under two names, and
    what a program keeps in attributes would be stand-ins.

    Raises:
        BufferChangedError: if a buffer was changed that is none of the inputs, or was replaced.
    """
    parts = list(module.modules())
    kept = [(dict(vars(part)), dict(part._parameters), dict(part._buffers)) for part in parts]
    constants = {name: buffer for name, buffer in module.named_buffers() if name not in inputs}
    contents = {name: (buffer.clone(), buffer._version) for name, buffer in constants.items()}
    slots: list[dict[str, int]] = []
    note = lambda module, *_: slots.append({name: id(buffer) for name, buffer in module.named_buffers()})  # noqa: E731
    hooks = [module.register_forward_pre_hook(note), module.register_forward_hook(note)]
    try:
        yield
    finally:
        for part, (attributes, parameters, buffers) in zip(parts, kept, strict=True):
            vars(part).clear()
            vars(part).update(attributes)
            part._parameters.update(parameters)
            part._buffers.update(buffers)
        for hook in hooks:
            hook.remove()
        changed = {name for name, buffer in constants.items() if buffer._version != contents[name][1]}
        for name in changed:
            constants[name].copy_(contents[name][0])
    changed |= {name for name, slot in slots[0].items() if slots[-1].get(name) != slot}
    if changed:
        raise BufferChangedError(changed)


@contextmanager
def _recording() -> Iterator[None]:
    """Within, nothing is taken off a tensor, and Pyro does not look for NaN, in any thread."""
    util: Any = pyro.util
    isnan, cache = util.torch_isnan, torch.is_autocast_cache_enabled()
    util.torch_isnan = lambda _: False
    torch.set_autocast_cache_enabled(False)  # it would keep what is recorded
    try:
        with validating(False), _ItemsStayTensors():
            yield
    finally:
        util.torch_isnan = isnan
        torch.set_autocast_cache_enabled(cache)


class _ItemsStayTensors(TorchFunctionMode):
    """Numbers that Pyro's estimators take off tensors, to be added to others, stay tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0].detach() if func is Tensor.item else func(*args, **(kwargs or {}))
