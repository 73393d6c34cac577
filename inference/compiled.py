"""A training step's loss and gradient as one compiled graph."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from inference.objective import Objective
from inference.terms import Terms

Named = dict[str, Tensor]


class CompiledObjective(nn.Module):
    r"""An :class:`Objective` whose loss and gradient come from one graph, recorded once and compiled.

    .. math:: (\theta, x) \mapsto \big(L_\theta(x),\ \mathrm{terms},\ \nabla_\theta L_\theta(x)\big)

    Pyro's handlers, traces and checks run while the graph is recorded and are gone afterwards; what
    Python computes is recorded as it came out then.  Random draws are made anew at every step, on a
    CPU the very draws that the objective itself would make.  An objective's ``progress`` is an input
    of the graph: it is a tensor while the graph is recorded.

    The graph is for the shapes of the first batch, in training mode; other batches, such as a short
    last one, run as they would without it.  So does everything, after one warning that says why,
    where a graph cannot be recorded (control flow that depends on data) or compiled (no compiler).

    Args:
        objective: what to compile.
        backend: of ``torch.compile``.

    Source: graphs of forward and backward pass together, Bradbury et al., "JAX" (2018);
    Ansel et al., "PyTorch 2" (2024).
    """

    def __init__(self, objective: Objective, backend: str = "inductor") -> None:
        super().__init__()
        self.objective = objective
        self.backend = backend
        self.enabled = True
        self._form: Any = None  # of the data that the graph is for
        self._graph: Any = None
        self._weights: Named = {}
        self._owners: dict[str, nn.Module] = {}

    def forward(self, *data: Tensor) -> tuple[Tensor, Terms]:
        form = [(part.shape, part.dtype, part.device) for part in data]
        if not (self.enabled and self.training and self._form in (None, form)):
            return self.objective(*data)
        if self._form is None:
            self._form, self._graph = form, self._compiled(data)
        if self._graph is None:
            return self.objective(*data)
        loss, kl, reconstruction = _Step.apply(lambda: self._run(*self._inputs(data)), *self._weights.values())
        return loss, Terms(kl, reconstruction)

    def _compiled(self, data: tuple[Tensor, ...]) -> Any:
        """The graph after its first run, or None where there cannot be one."""
        self._weights = dict(self.objective.named_parameters())
        self._owners = dict(owners_of_buffers(self.objective))
        cpu = data[0].device.type == "cpu"
        options: dict[str, Any] = {"fallback_random": True} if cpu else {"triton.cudagraphs": True}
        try:
            with torch.random.fork_rng([] if cpu else [data[0].device]):
                weights, buffers, _, progress = self._inputs(data)
                self._graph = torch.compile(
                    record(self.objective, weights, buffers, data, progress),
                    fullgraph=True,
                    dynamic=False,
                    backend=self.backend,
                    options=options if self.backend == "inductor" else None,
                )
                self._run(weights, {name: buffer.clone() for name, buffer in buffers.items()}, data, progress)
            return self._graph
        except Exception as error:  # whatever a program, or a compiler, does
            warnings.warn(f"training runs without compilation: {_cause(error)}", stacklevel=2)
            return None

    def _inputs(self, data: tuple[Tensor, ...]) -> tuple[Named, Named, tuple[Tensor, ...], Tensor]:
        progress = torch.tensor(float(getattr(self.objective.elbo, "progress", 1.0)), device=data[0].device)
        buffers = {name: getattr(owner, name.rpartition(".")[2]) for name, owner in self._owners.items()}
        return self._weights, buffers, data, progress

    def _run(self, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor | None]]:
        device = inputs[-1].device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):  # casts are in the graph
            if device == "cpu":
                return self._graph(*inputs)
            torch.compiler.cudagraph_mark_step_begin()
            loss, kl, reconstruction, gradients = self._graph(*inputs)
            return loss.clone(), kl.clone(), reconstruction.clone(), gradients  # the next replay writes over them


def _cause(error: Exception) -> str:
    if "DataDependent" in type(error).__name__:
        return "a branch of model, guide or objective depends on the data"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def owners_of_buffers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The module of every buffer of floats; others are read once: a program may index by them, or branch."""
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            yield name, module.get_submodule(name.rpartition(".")[0])


def record(
    objective: Objective,
    parameters: Named,
    buffers: Named,
    data: tuple[Tensor, ...],
    progress: Tensor,
) -> torch.fx.GraphModule:
    """The objective's loss, terms and gradients as a flat graph of these inputs.

    Raises:
        Exception: if the objective's path depends on values, or it does what a graph cannot hold.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # slow to import, and needed only here

    needed = {name: parameter.requires_grad for name, parameter in parameters.items()}

    @torch.enable_grad()
    def step(parameters: Any, buffers: Any, data: Any, progress: Tensor) -> tuple[Any, ...]:
        leaves = {name: value.detach().requires_grad_(needed[name]) for name, value in parameters.items()}
        with _recording(objective, progress):
            loss, terms = functional_call(objective, {**leaves, **buffers}, data)
            trained = [leaf for leaf in leaves.values() if leaf.requires_grad]
            found = iter(torch.autograd.grad(loss, trained, allow_unused=True))
        gradients = [next(found) if leaf.requires_grad else None for leaf in leaves.values()]
        return loss.detach(), terms.kl.detach(), terms.reconstruction.detach(), gradients

    make = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)  # nothing is computed yet
    return make(parameters, buffers, data, progress)


@contextmanager
def _recording(objective: Objective, progress: Tensor) -> Iterator[None]:
    """Within, nothing is taken off a tensor, and Pyro does not look for NaN."""
    elbo: Any = objective.elbo
    util: Any = pyro.util
    before, isnan, cache = getattr(elbo, "progress", None), util.torch_isnan, torch.is_autocast_cache_enabled()
    if before is not None:
        elbo.progress = progress
    util.torch_isnan = lambda _: False
    torch.set_autocast_cache_enabled(False)  # it would keep what is recorded
    try:
        with pyro.validation_enabled(False), _OnTensors():
            yield
    finally:
        util.torch_isnan = isnan
        torch.set_autocast_cache_enabled(cache)
        if before is not None:
            elbo.progress = before


class _OnTensors(TorchFunctionMode):
    """Numbers that Pyro's estimators take off tensors, to be added to others, stay tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0].detach() if func is Tensor.item else func(*args, **(kwargs or {}))


class _Step(torch.autograd.Function):
    """A loss whose gradients came with it."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[], tuple], *parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss, kl, reconstruction, ctx.gradients = run()
        ctx.mark_non_differentiable(kl, reconstruction)
        return loss, kl, reconstruction

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # held by no one else, they need no copy
        if of_loss.device.type == "cpu" and of_loss == 1:
            return None, *gradients
        return None, *(None if gradient is None else gradient * of_loss for gradient in gradients)
