"""A function of a module as one flat graph, recorded once and compiled."""

import gc
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from inference.compilation.make_up import MakeUp
from inference.compilation.numbers_held import NumbersHeld
from inference.system.randomness import generators_as_they_were
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
    """A function of a module and some tensors, compiled for tensors of one form.

    Pyro's handlers, traces and checks run while the graph is recorded and are gone afterwards; what
    Python computes stays what it was then.  Every call draws new random numbers, on a CPU exactly
    the ones the function itself would draw.

    Args:
        module: every call reads its parameters and its floating-point buffers; the graph holds other
            buffers as constants, since a program may index by them, or branch.
        function: of the module and the tensors.
        tensors: the graph is for tensors of this form.
        varying: names of other buffers that every call reads.
        backend: of ``torch.compile``; "eager" does not compile, and runs the recorded graph itself.

    Raises:
        BufferChangedError: if a constant buffer changes, or any buffer is replaced rather than written to.
        RuntimeError: if a parameter, or a view of one, is also held elsewhere, such as in a list: the
            graph would keep its value of today.
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
        self._make_up = MakeUp(module)
        owned = [
            (module.get_submodule(name.rpartition(".")[0])._buffers, name.rpartition(".")[2], name)
            for name, buffer in module.named_buffers()
            if buffer.is_floating_point() or name in varying
        ]
        self._slots = [(buffers, own) for buffers, own, _ in owned]
        self._device = tensors[0].device
        # torch switches validation off when it first compiles anything, for the whole process
        with switches_as_they_were(), generators_as_they_were():
            names = [name for *_, name in owned]
            recorded = _Recorded(
                module, function, self.parameters, dict(zip(names, self._buffers(), strict=True)), tensors
            )
            self._together = recorded.together
            self._graph = self._compiled(recorded.graph, tensors, backend)

    def module_changed(self) -> bool:
        """Whether modules or parameters were replaced, or put in another mode, since the graph was recorded."""
        return self._make_up.changed()

    def __call__(self, *tensors: Tensor) -> Any:
        """What the function returns; on a GPU the next call overwrites it."""
        self.calls += 1
        return self._together(self._run(*self.parameters.values(), *self._buffers(), *tensors))

    def _compiled(self, graph: GraphModule, tensors: tuple[Tensor, ...], backend: str) -> Callable:
        """The graph as compiled code, which has not run yet on the module's own tensors."""
        if backend == "eager":
            return graph
        inputs: list[Any] = [*self.parameters.values(), *self._buffers(), *tensors]
        if backend == "inductor" and self._device.type == "cpu":
            with torch.no_grad():  # the graph is called as it is, without the guards of ``torch.compile``
                return torch._inductor.compile(graph, inputs, options={"fallback_random": True})
        options: Any = {"triton.cudagraphs": True} if backend == "inductor" else None
        compiled = torch.compile(graph, fullgraph=True, dynamic=False, backend=backend, options=options)
        self._graph = compiled
        self._run(*map(_copy_of, inputs))  # which compiles it
        return compiled

    def _run(self, *inputs: Tensor) -> Any:
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):  # casts are in the graph
            if self._device.type != "cpu":
                torch.compiler.cudagraph_mark_step_begin()
            return self._graph(*inputs)

    def _buffers(self) -> list[Tensor]:
        return [buffers[name] for buffers, name in self._slots]  # type: ignore[misc]


def form_of(tensors: tuple[Tensor, ...]) -> Any:
    """What a graph is recorded for: the layout of its inputs, their dtypes and devices, and whether autocast is on."""
    forms = [(tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for tensor in tensors]
    return forms, torch.is_autocast_enabled(tensors[0].device.type)


class _Recorded:
    """The graph of a function from parameters, buffers and other tensors to all tensors that it returns."""

    def __init__(
        self, module: nn.Module, function: Callable, parameters: Named, buffers: Named, tensors: tuple[Tensor, ...]
    ) -> None:
        def flat(*inputs: Tensor) -> list[Tensor]:
            given = iter(inputs)
            parameters_, buffers_ = ({name: next(given) for name in named} for named in (parameters, buffers))
            result = _on_stand_ins(module, function, parameters_, buffers_, *given)
            leaves, self._structure = tree_flatten(result)
            self._is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
            return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

        def recorded() -> GraphModule:
            with _recording(), _left_unchanged(module, buffers):
                record = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)
                return record(*parameters.values(), *buffers.values(), *tensors)  # computes nothing yet

        self.graph = recorded()
        if not _alike(self.graph, recorded()):
            raise RuntimeError("model, guide or objective compute something else at every call")
        names = {_storage(value): name for name, value in (parameters | buffers).items() if value.numel()}
        for constant in (*self.graph.parameters(), *self.graph.buffers()):
            if _storage(constant) in names:
                raise RuntimeError(
                    f"{names[_storage(constant)]} is also held outside the modules' parameters and buffers"
                )

    def together(self, tensors: Any) -> Any:
        """What the function returns, from the tensors that its graph returns."""
        given = iter(tensors)
        return tree_unflatten([next(given) if tensor else None for tensor in self._is_tensor], self._structure)


def _alike(graph: GraphModule, other: GraphModule) -> bool:
    """Whether two graphs compute the same, from the same constants."""
    constants = [
        [getattr(each, str(node.target)) for node in each.graph.nodes if node.op == "get_attr"]
        for each in (graph, other)
    ]
    return graph.code == other.code and all(map(_are_equal, *constants))


def _are_equal(constant: Any, other: Any) -> bool:
    if not (isinstance(constant, Tensor) and isinstance(other, Tensor)) or constant is other:
        return constant is other or type(constant) is type(other)
    parts = [(each.isnan(), each.nan_to_num()) for each in (constant, other)]
    return constant.dtype == other.dtype and all(map(torch.equal, *parts))


def _copy_of(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return nn.Parameter(copy, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _on_stand_ins(module: nn.Module, function: Callable, parameters: Named, buffers: Named, *tensors: Tensor) -> Any:
    """The function of a module, with other tensors for its parameters and buffers, which stay in it."""
    held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    leaves = {name: value.detach().requires_grad_(held[name].requires_grad) for name, value in parameters.items()}
    stand_ins = {id(held[name]): value for name, value in (leaves | buffers).items()}
    for part in module.modules():
        for slots in (part._parameters, part._buffers):
            slots.update({name: stand_ins.get(id(value), value) for name, value in slots.items()})  # type: ignore
    before = dict(module.named_buffers())
    result = function(module, *tensors)
    replaced = [name for name, buffer in module.named_buffers() if before.get(name) is not buffer]
    if replaced:
        raise BufferChangedError(replaced)
    return result


@contextmanager
def _left_unchanged(module: nn.Module, inputs: Collection[str]) -> Iterator[None]:
    """Within, a module may run on stand-ins for its tensors; afterwards all its parts have the attributes of before.

    A copy of the module would need no such care, but a copy is not always the same program: programs compare
    objects by identity, close over ``self``, or say themselves how they are copied.

    Raises:
        BufferChangedError: if a buffer changed that is none of the inputs.
        RuntimeError: if a number changed that a part holds.
    """
    parts = list(module.modules())
    attributes = [dict(vars(part)) for part in parts]
    containers = [value for kept in attributes for value in kept.values() if isinstance(value, list | dict | set)]
    contents = [dict(value) if isinstance(value, dict) else list(value) for value in containers]
    constants = {name: buffer for name, buffer in module.named_buffers() if name not in inputs}
    before = {name: (buffer.clone(), buffer._version) for name, buffer in constants.items()}
    numbers = NumbersHeld(*parts)
    try:
        yield
        numbers.check_unchanged()
    finally:
        for part, kept in zip(parts, attributes, strict=True):
            vars(part).clear()
            vars(part).update(kept)
        for container, content in zip(containers, contents, strict=True):  # parameters and buffers among them
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)
        changed = [name for name, buffer in constants.items() if buffer._version != before[name][1]]
        for name in changed:
            constants[name].copy_(before[name][0])
    if changed:
        raise BufferChangedError(changed)


@contextmanager
def _recording() -> Iterator[None]:
    """Within, nothing is taken off a tensor, and Pyro does not look for NaN, in any thread.

    Raises:
        RuntimeError: if random numbers were drawn that no graph draws.
    """
    drawn = _drawn()
    util: Any = pyro.util
    isnan, cache, collecting = util.torch_isnan, torch.is_autocast_cache_enabled(), gc.isenabled()
    util.torch_isnan = lambda _: False
    torch.set_autocast_cache_enabled(False)  # it would keep what is recorded
    gc.disable()  # in older versions of torch, the record forgets tensors that only autograd holds after a collection
    try:
        with validating(False), _ItemsStayTensors():
            yield
        if drawn != _drawn():
            raise RuntimeError("random numbers are drawn by Python or NumPy: draw them by torch or pyro.sample")
    finally:
        util.torch_isnan = isnan
        torch.set_autocast_cache_enabled(cache)
        if collecting:
            gc.enable()


def _drawn() -> tuple[Any, ...]:
    """The states of the generators of Python and NumPy."""
    of_numpy: Any = np.random.get_state()
    return random.getstate(), of_numpy[1].tobytes(), of_numpy[2:]


class _ItemsStayTensors(TorchFunctionMode):
    """Numbers that Pyro's estimators take off tensors, to be added to others, stay tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0].detach() if func is Tensor.item else func(*args, **(kwargs or {}))
