"""A training step's loss and gradient as one compiled graph."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from inference.compilation.fallback import Compiler
from inference.compilation.graph import CompiledGraph
from inference.compilation.numbers_held import NumbersHeld
from inference.objectives.with_terms import ELBOWithTerms
from inference.programs.param_store import ParameterSites
from inference.programs.terms import Terms


class CompiledELBO(nn.Module):
    r"""An :class:`ELBOWithTerms` whose loss and gradient come from one graph, recorded once and compiled.

    .. math:: (\theta, x) \mapsto \big(L_\theta(x),\ \mathrm{terms},\ \nabla_\theta L_\theta(x)\big)

    Whatever changes from step to step must be a tensor: a parameter, a floating-point buffer that is
    written to, or the one number that an objective may take from the progress of the run, which the
    graph receives as a tensor.  That number is ``annealed()`` of an objective with this method, such as
    :class:`BetaELBO`, and otherwise its attribute ``progress``, from 0 to 1.  Other numbers, attributes
    and handlers around the call keep the values that they had when the graph was recorded.

    The graph serves batches of the shape of the first one, and the modules as they are then.  Other
    batches, such as a short last one, run without it.  After one warning that says why, so does
    everything where modules change, or where no graph can be recorded (control flow that depends on
    data) or compiled (no compiler).  Steps in which parts initialise themselves from the data run
    without a graph, and so do those in which Pyro's estimator runs the programs an extra time to count
    their plates.

    Args:
        eager: what to compile.
        backend: of ``torch.compile``.
    """

    def __init__(self, eager: ELBOWithTerms, backend: str = "inductor") -> None:
        super().__init__()
        self.eager = eager
        self.enabled = True
        self._compiler = Compiler("training runs", eager, loss_and_gradients, backend, attempts=2)

    def settle(self) -> None:
        """See :meth:`~inference.compilation.fallback.Compiler.settle`."""
        self._compiler.settle()

    def forward(self, *data: Tensor) -> tuple[Tensor, Terms]:
        if not (self.enabled and self.training and data) or any(part.requires_grad for part in data):
            return self.eager(*data)
        if guesses_plates(self.eager.elbo):
            return self.eager(*data)
        inputs = (annealed_number(self.eager.elbo, data[0]), *data)
        graph = self._compiler.graph_for(*inputs)
        if graph is None:
            return self.eager(*data)
        loss, kl, reconstruction = _Step.apply(graph, inputs, *graph.parameters.values())
        return loss, Terms(kl, reconstruction)


def guesses_plates(elbo: Any) -> bool:
    """Whether the estimator will run the programs an extra time to count their plates."""
    asks = getattr(elbo, "vectorize_particles", False) or isinstance(elbo, TraceEnum_ELBO)
    return asks and math.isinf(elbo.max_plate_nesting)


def annealed_number(elbo: Any, x: Tensor) -> Tensor:
    """The number that the objective takes from the progress of the run, as an input for a graph."""
    number = elbo.annealed() if hasattr(elbo, "annealed") else getattr(elbo, "progress", 1.0)
    return torch.tensor(float(number), dtype=x.dtype if x.is_floating_point() else None, device=x.device)


@torch.enable_grad()
def loss_and_gradients(
    eager: ELBOWithTerms, annealed: Tensor, *data: Tensor
) -> tuple[Tensor, Tensor, Tensor, list[Tensor | None]]:
    """Loss, terms and gradients, with a tensor for the number that the objective takes from the run's progress."""
    leaves = list(eager.parameters())
    with _annealed_by(annealed, eager.elbo), ParameterSites() as sites:
        loss, terms = eager(*data)
    sites.check_held_by(leaves)
    trained = [leaf for leaf in leaves if leaf.requires_grad]
    found = iter(torch.autograd.grad(loss, trained, allow_unused=True))
    gradients = [next(found) if leaf.requires_grad else None for leaf in leaves]
    return loss.detach(), terms.kl.detach(), terms.reconstruction.detach(), gradients


@contextmanager
def _annealed_by(number: Tensor, elbo: Any) -> Iterator[None]:
    """Within, the objective takes this tensor from the progress of the run."""
    before = dict(vars(elbo))
    if hasattr(elbo, "annealed"):
        elbo.annealed = lambda: number
    elif hasattr(elbo, "progress"):
        elbo.progress = number
    numbers = NumbersHeld(elbo)
    try:
        yield
        numbers.check_unchanged()
    finally:
        vars(elbo).clear()
        vars(elbo).update(before)


class _Step(torch.autograd.Function):
    """A loss whose gradients came with it."""

    @staticmethod
    def forward(ctx: Any, graph: CompiledGraph, inputs: tuple[Tensor, ...], *parameters: Tensor) -> tuple[Tensor, ...]:
        loss, kl, reconstruction, ctx.gradients = graph(*inputs)
        ctx.graph, ctx.call = graph, graph.calls
        ctx.mark_non_differentiable(kl, reconstruction)
        if loss.device.type == "cpu":
            return loss, kl, reconstruction
        return loss.clone(), kl.clone(), reconstruction.clone()  # the next step overwrites the graph's own

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # nothing else holds them: they need no copy
        if torch.is_grad_enabled():
            raise RuntimeError("the gradient of a compiled step has no gradient itself: use its module `eager` instead")
        if gradients is None:
            raise RuntimeError("the gradient of a compiled step can be taken once: call the step again for another")
        if of_loss.device.type == "cpu":
            return None, None, *(gradients if of_loss == 1 else map(partial(_scaled, of_loss), gradients))
        if ctx.call != ctx.graph.calls:
            raise RuntimeError("on a GPU the gradient of a compiled step must be taken before the next step")
        return None, None, *map(partial(_scaled, of_loss), gradients)


def _scaled(factor: Tensor, gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient * factor
