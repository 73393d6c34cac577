"""A training step's loss and gradient as one compiled graph."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn
from torch.func import functional_call

from inference.compilation.graph import BufferChangedError, CompiledGraph, Named, cause_of, form_of
from inference.objectives.with_terms import ELBOWithTerms
from inference.programs.param_store import ParameterSites
from inference.programs.terms import Terms


class CompiledELBO(nn.Module):
    r"""An :class:`ELBOWithTerms` whose loss and gradient come from one graph, recorded once and compiled.

    .. math:: (\theta, x) \mapsto \big(L_\theta(x),\ \mathrm{terms},\ \nabla_\theta L_\theta(x)\big)

    What changes from step to step must be a tensor: a parameter, a buffer of floats that is written to,
    or the one number that an objective may take from how far the run is, which the graph gets as a
    tensor.  That is ``annealed()`` of an objective with this method, as of :class:`BetaELBO`, and its
    attribute ``progress`` of any other, from 0 to 1.  Other numbers and attributes, and handlers around the call,
    keep what they were when the graph was recorded.

    The graph is for the shapes of the first batch and for modules as they are then.  Other batches,
    such as a short last one, run as they would without it; so does everything, after one warning that
    says why, where modules change, and where no graph can be recorded (control flow that depends on
    data) or compiled (no compiler).  A step in which parts initialise themselves by the data is not
    recorded, but the one after it; nor is one in which Pyro's estimator runs the programs once more,
    to find out how many plates they have.

    Args:
        eager: what to compile.
        backend: of ``torch.compile``.
    """

    def __init__(self, eager: ELBOWithTerms, backend: str = "inductor") -> None:
        super().__init__()
        self.eager = eager
        self.backend = backend
        self.enabled = True
        self._graph: CompiledGraph | None = None
        self._attempts = 2

    def forward(self, *data: Tensor) -> tuple[Tensor, Terms]:
        if not (self.enabled and self.training and data) or any(part.requires_grad for part in data):
            return self.eager(*data)
        if self._guesses_plates():
            return self.eager(*data)
        inputs = (self._annealed(data[0]), *data)
        if self._graph is None and self._attempts:
            self._attempts -= 1
            self._graph = self._recorded(inputs)
        graph = self._graph
        if graph is None or graph.form != form_of(inputs):
            return self.eager(*data)
        if graph.module_changed():
            self._graph = None
            warnings.warn("training goes on without compilation: model or guide were changed", stacklevel=2)
            return self.eager(*data)
        loss, kl, reconstruction = _Step.apply(graph, inputs, *graph.parameters.values())
        return loss, Terms(kl, reconstruction)

    def _guesses_plates(self) -> bool:
        """Whether this call is one in which the estimator finds the plates of the programs by running them."""
        elbo = self.eager.elbo
        asks = getattr(elbo, "vectorize_particles", False) or isinstance(elbo, TraceEnum_ELBO)
        return asks and math.isinf(elbo.max_plate_nesting)

    def _annealed(self, x: Tensor) -> Tensor:
        elbo: Any = self.eager.elbo
        number = elbo.annealed() if hasattr(elbo, "annealed") else getattr(elbo, "progress", 1.0)
        return torch.tensor(float(number), dtype=x.dtype if x.is_floating_point() else None, device=x.device)

    def _recorded(self, inputs: tuple[Tensor, ...]) -> CompiledGraph | None:
        record = partial(CompiledGraph, self.eager, loss_and_gradients(self.eager), *inputs, backend=self.backend)
        try:
            try:
                return record()
            except BufferChangedError as error:
                if self._attempts:  # the step may be one of initialisation
                    return None
                return record(varying=error.names)
        except Exception as error:  # whatever a program, or a compiler, does
            self._attempts = 0
            warnings.warn(f"training runs without compilation: {cause_of(error)}", stacklevel=3)
            return None


def loss_and_gradients(eager: ELBOWithTerms) -> Callable[..., tuple[Tensor, Tensor, Tensor, list[Tensor | None]]]:
    """The module as a function of parameters, buffers, the annealed number and data: loss, terms, gradients."""
    needed = {name: parameter.requires_grad for name, parameter in eager.named_parameters()}

    @torch.enable_grad()
    def step(parameters: Named, buffers: Named, annealed: Tensor, *data: Tensor) -> Any:
        leaves = {name: value.detach().requires_grad_(needed[name]) for name, value in parameters.items()}
        with _annealed_by(eager, annealed), ParameterSites() as sites:
            loss, terms = functional_call(eager, {**leaves, **buffers}, data)
        sites.check_held_by(leaves.values())
        trained = [leaf for leaf in leaves.values() if leaf.requires_grad]
        found = iter(torch.autograd.grad(loss, trained, allow_unused=True))
        gradients = [next(found) if leaf.requires_grad else None for leaf in leaves.values()]
        return loss.detach(), terms.kl.detach(), terms.reconstruction.detach(), gradients

    return step


@contextmanager
def _annealed_by(eager: ELBOWithTerms, number: Tensor) -> Iterator[None]:
    """Within, what the objective takes from how far the run is is this tensor."""
    elbo: Any = eager.elbo
    before = dict(vars(elbo))
    if hasattr(elbo, "annealed"):
        elbo.annealed = lambda: number
    elif hasattr(elbo, "progress"):
        elbo.progress = number
    try:
        yield
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
        return loss.clone(), kl.clone(), reconstruction.clone()  # kept beyond the next step

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # held by no one else, they need no copy
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
