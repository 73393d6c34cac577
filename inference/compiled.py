"""A training step's loss and gradient as one compiled graph."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from inference.graph import CompiledGraph, Named, cause_of, form_of
from inference.objective import Objective
from inference.terms import Terms


class CompiledObjective(nn.Module):
    r"""An :class:`Objective` whose loss and gradient come from one graph, recorded once and compiled.

    .. math:: (\theta, x) \mapsto \big(L_\theta(x),\ \mathrm{terms},\ \nabla_\theta L_\theta(x)\big)

    See :class:`CompiledGraph` for what is recorded.  An objective's ``progress`` is an input of the
    graph: it is a tensor while the graph is recorded.

    The graph is for the shapes of the first batch, in training mode; other batches, such as a short
    last one, run as they would without it.  So does everything, after one warning that says why,
    where a graph cannot be recorded (control flow that depends on data) or compiled (no compiler).

    Args:
        objective: what to compile.
        backend: of ``torch.compile``.
    """

    def __init__(self, objective: Objective, backend: str = "inductor") -> None:
        super().__init__()
        self.objective = objective
        self.backend = backend
        self.enabled = True
        self._graph: CompiledGraph | None = None
        self._tried = False

    def forward(self, *data: Tensor) -> tuple[Tensor, Terms]:
        if self.enabled and self.training and not self._tried:
            self._tried, self._graph = True, self._recorded(data)
        graph = self._graph if self.enabled and self.training else None
        inputs = (self._progress(data), *data)
        if graph is None or graph.form != form_of(inputs):
            return self.objective(*data)
        loss, kl, reconstruction = _Step.apply(lambda: graph(*inputs), *graph.weights.values())
        return loss, Terms(kl, reconstruction)

    def _progress(self, data: tuple[Tensor, ...]) -> Tensor:
        return torch.tensor(float(getattr(self.objective.elbo, "progress", 1.0)), device=data[0].device)

    def _recorded(self, data: tuple[Tensor, ...]) -> CompiledGraph | None:
        try:
            step = loss_and_gradients(self.objective)
            return CompiledGraph(self.objective, step, self._progress(data), *data, backend=self.backend)
        except Exception as error:  # whatever a program, or a compiler, does
            warnings.warn(f"training runs without compilation: {cause_of(error)}", stacklevel=3)
            return None


def loss_and_gradients(objective: Objective) -> Callable[..., tuple[Tensor, Tensor, Tensor, list[Tensor | None]]]:
    """The objective as a function of weights, buffers, progress and data: loss, terms, a gradient for each weight."""
    needed = {name: parameter.requires_grad for name, parameter in objective.named_parameters()}

    @torch.enable_grad()
    def step(weights: Named, buffers: Named, progress: Tensor, *data: Tensor) -> Any:
        leaves = {name: value.detach().requires_grad_(needed[name]) for name, value in weights.items()}
        with _progress_of(objective, progress):
            loss, terms = functional_call(objective, {**leaves, **buffers}, data)
        trained = [leaf for leaf in leaves.values() if leaf.requires_grad]
        found = iter(torch.autograd.grad(loss, trained, allow_unused=True))
        gradients = [next(found) if leaf.requires_grad else None for leaf in leaves.values()]
        return loss.detach(), terms.kl.detach(), terms.reconstruction.detach(), gradients

    return step


@contextmanager
def _progress_of(objective: Objective, progress: Tensor) -> Iterator[None]:
    elbo: Any = objective.elbo
    before = getattr(elbo, "progress", None)
    if before is None:
        yield
        return
    elbo.progress = progress
    try:
        yield
    finally:
        elbo.progress = before


class _Step(torch.autograd.Function):
    """A loss whose gradients came with it."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[], tuple], *weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss, kl, reconstruction, ctx.gradients = run()
        ctx.mark_non_differentiable(kl, reconstruction)
        if loss.device.type == "cpu":
            return loss, kl, reconstruction
        return loss.clone(), kl.clone(), reconstruction.clone()  # kept beyond the next step

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # held by no one else, they need no copy
        if of_loss.device.type == "cpu" and of_loss == 1:
            return None, *gradients
        return None, *(None if gradient is None else gradient * of_loss for gradient in gradients)
