"""Pyro's ELBO module that also reports the two terms of the bound."""

from collections.abc import Callable
from typing import cast

import torch
from pyro import poutine
from pyro.infer import ELBO
from pyro.infer.elbo import ELBOModule
from torch import Tensor, nn

from inference.programs.buffers import BufferSnapshot
from inference.programs.densities_kept import DensitiesKept
from inference.programs.param_store import param_store_unchanged
from inference.programs.protocols import HasDifferentiableLoss
from inference.programs.terms import Terms, check_sites, draw_traces, elbo_terms, sample_sites


class ELBOWithTerms(ELBOModule):
    """Pyro's module of an objective, a model and a guide, whose call also returns the terms of the same draw.

    ``module(*data)``, for data (x,) or (x, labels), is the pair (loss, terms).  The loss is the
    objective's, divided by the batch size, in nats per observation, and differentiable.  The terms are
    (B,) values without gradients.  If the objective draws several particles one by one, they are those
    of the last; if it sums over all values of a latent, they come from a draw of their own.
    The module holds the parameters of both programs, ready for an optimiser or
    ``DistributedDataParallel``.  Computing the terms may run networks again, but moves no buffer.

    Args:
        elbo: the objective, a Pyro estimator such as ``Trace_ELBO()``.
        model: the generative half.
        guide: the inference half.

    Raises:
        TypeError: if the objective has no differentiable loss, or compiles the programs itself.
    """

    def __init__(self, elbo: ELBO, model: Callable, guide: Callable) -> None:
        name = type(elbo).__name__
        if name.startswith("Jit"):
            raise TypeError(f"{name} hides the programs that it compiles: take {name[3:]}, and Settings(compile='on')")
        if not hasattr(elbo, "differentiable_loss"):
            raise TypeError(f"{name} has no differentiable_loss: take one of inference.objectives, such as Trace_ELBO")
        super().__init__(cast(nn.Module, model), cast(nn.Module, guide), elbo)  # a callable has no parameters

    def forward(self, *data: Tensor) -> tuple[Tensor, Terms]:
        model, guide = poutine.trace(self.model), poutine.trace(self.guide)
        buffers = BufferSnapshot(self)
        with DensitiesKept():
            with param_store_unchanged():
                loss = cast(HasDifferentiableLoss, self.elbo).differentiable_loss(model, guide, *data) / len(data[0])
            check_sites(model.trace, guide.trace)
            with torch.no_grad(), buffers.restored():
                traces = model.trace, guide.trace
                sites = [site for trace in traces for site in sample_sites(trace).values()]
                if any(site["infer"].get("_enumerate_dim") is not None for site in sites):
                    traces = draw_traces(self.model, self.guide, *data)  # a mean over all values would weigh them alike
                terms = elbo_terms(*traces)
        return loss, terms
