"""A function of tensors as a short list of operations that a page can run."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro import validation_enabled
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch.fx import Node

from inference import RunError
from pyro_models_cli.explore.operations import MOVEMENTS, emit_operation
from pyro_models_cli.explore.values import Constants, Value, Writer


class _Function(nn.Module):
    """A function of tensors as a module that holds the modules whose weights it uses."""

    def __init__(self, function: Callable[..., Any], modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.function = function
        self.modules_used = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


@dataclass
class Graph:
    """A list of operations.

    Args:
        inputs: name and shape of each input.
        outputs: name and shape of each output.
        operations: each a name, the result, what it is computed from, and numbers.
    """

    inputs: list[tuple[str, list[int]]] = field(default_factory=list)
    outputs: list[tuple[Any, list[int]]] = field(default_factory=list)
    operations: list[list[Any]] = field(default_factory=list)


def exported(
    function: Callable[..., Any],
    modules: Sequence[nn.Module],
    examples: Sequence[Tensor],
    constants: Constants,
    what: str = "a part of this pair",
) -> Graph:
    """The operations that a function of tensors runs, for inputs of the shapes of the examples.

    What depends on weights alone is computed here, once.

    Args:
        function: from tensors to a tensor or a tuple of tensors; without random draws.
        modules: those whose weights it uses, in evaluation mode.
        examples: inputs.
        constants: where the numbers go that the operations need; several functions share them.
        what: the function's name in errors.

    Raises:
        RunError: if the function cannot be exported, or needs an operation that pages do not have.
    """
    with _failing_in_one_line(what), validation_enabled(False), torch.no_grad():
        program = torch.export.export(_Function(function, modules), tuple(examples), strict=False)
        return _graph(program.run_decompositions(_decompositions()), examples, constants)


def _graph(program: Any, examples: Sequence[Tensor], constants: Constants) -> Graph:
    writer = Writer(constants)
    values: dict[Node, Any] = {}
    graph = Graph(operations=writer.operations)
    known = _weights(program)
    given = iter(examples)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in known:
            values[node] = known[node.name]
        elif node.op == "placeholder":
            example = next(given)
            values[node] = writer.new(example.shape, example.dtype)
            graph.inputs.append((values[node].name, list(example.shape)))
        elif node.op == "call_function":
            values[node] = _translated(writer, node, values)
        elif node.op == "output":
            for part in node.args[0]:
                found = values[part]
                reference = writer.reference(found)
                graph.outputs.append((reference, list(found.shape)))
    return graph


def part_of(graph: Graph, start: tuple[str, list[int]], ends: Sequence[tuple[Any, list[int]]]) -> Graph:
    """The operations of a graph that lead from one of its results, and its inputs after the first, to others."""
    needed, kept = {name for name, _ in ends}, []
    for operation in reversed(graph.operations):
        if operation[1] in needed and operation[1] != start[0]:
            kept.append(operation)
            needed |= {part for part in _leaves(operation[2:]) if isinstance(part, str)}
    return Graph([start, *graph.inputs[1:]], list(ends), kept[::-1])


@contextmanager
def _failing_in_one_line(what: str) -> Iterator[None]:
    """Errors of torch as one line, without what torch logs and warns about itself."""
    log = logging.getLogger("torch._subclasses.fake_tensor")  # it logs a traceback before it raises
    was = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RunError as error:
        raise RunError(f"{what} cannot be put on a page: {error}") from error
    except Exception as error:  # of many classes, some private to torch
        reason = str(error).strip().partition("\n")[0]
        raise RunError(f"{what} cannot be put on a page: torch.export stops at: {reason}") from error
    finally:
        log.disabled = was


def _decompositions() -> Any:
    """Those of torch.export, and of what pages compute in smaller steps."""
    table = torch.export.default_decompositions()
    table.update(get_decompositions([torch.ops.aten._softmax, torch.ops.aten._log_softmax]))
    return table


def _weights(program: Any) -> dict[str, Tensor]:
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    numbers = {**program.constants, **program.state_dict}
    return {name: numbers[of] for name, of in {**names, **signature.inputs_to_lifted_tensor_constants}.items()}


def _translated(writer: Writer, node: Node, values: dict[Node, Any]) -> Any:
    """The value of one node: a tensor if it depends on weights alone, else the name of a result."""

    def found(part: Any) -> Any:
        return values[part] if isinstance(part, Node) else part

    args: Any = torch.fx.node.map_aggregate(node.args, found)
    kwargs: Any = torch.fx.node.map_aggregate(node.kwargs, found)
    target: Any = node.target
    if getattr(target, "__name__", "") == "getitem":
        return args[0][args[1]]
    flat = [*_leaves(args), *_leaves(kwargs)]
    if not any(isinstance(part, Value) for part in flat):
        return target(*args, **kwargs)
    name = target.name().removeprefix("aten::") if hasattr(target, "name") else str(target)
    if name.startswith("_assert"):
        return None
    if name.partition(".")[0] in MOVEMENTS:
        return writer.moved(target, args, kwargs)
    return emit_operation(writer, name, args, kwargs, node.meta["val"])


def _leaves(args: Any) -> list[Any]:
    if isinstance(args, dict):
        args = list(args.values())
    if isinstance(args, list | tuple):
        return [leaf for part in args for leaf in _leaves(part)]
    return [args]
