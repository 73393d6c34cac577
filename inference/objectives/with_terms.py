"""A Pyro ELBO as a module that also reports its two terms."""

from collections.abc import Callable

import torch
from pyro import poutine
from pyro.infer import ELBO
from torch import Tensor, nn

from inference.programs.buffers import Buffers
from inference.programs.param_store import param_store_as_it_was
from inference.programs.terms import Terms, check_sites, draw_traces, elbo_terms, sample_sites


class Objective(nn.Module):
    """The loss of an ELBO estimator on a model and a guide, and the terms of the same draw.

    ``objective(*data)``, for data (x,) or (x, labels), is the pair (loss, terms): the loss is the
    estimator's, divided by the batch size, in nats per image, and differentiable; the terms are
    (B,) values without gradients, those of the last particle where several are drawn one by one, and
    of a draw of its own where the estimator sums over all values of a latent.
    As a module it holds the parameters of both programs, ready for an optimiser or for
    ``DistributedDataParallel``.  The terms may run networks again; buffers do not move by that.

    Args:
        elbo: a Pyro estimator such as ``Trace_ELBO()``.
        model: the generative half.
        guide: the inference half.

    Raises:
        TypeError: if the estimator has no differentiable loss, or compiles the programs itself.
    """

    def __init__(self, elbo: ELBO, model: Callable, guide: Callable) -> None:
        super().__init__()
        name = type(elbo).__name__
        if name.startswith("Jit"):
            raise TypeError(f"{name} hides the programs that it compiles: take {name[3:]}, and Settings(compile='on')")
        if not hasattr(elbo, "differentiable_loss"):
            raise TypeError(f"{name} has no differentiable_loss: take one of inference.objectives, such as Trace_ELBO")
        self.elbo = elbo
        self.model = model
        self.guide = guide

    def forward(self, *data: Tensor) -> tuple[Tensor, Terms]:
        model, guide = poutine.trace(self.model), poutine.trace(self.guide)
        buffers = Buffers(self)
        with param_store_as_it_was():
            loss = self.elbo.differentiable_loss(model, guide, *data) / len(data[0])
        check_sites(model.trace, guide.trace)
        with torch.no_grad(), buffers.as_noted():
            traces = model.trace, guide.trace
            sites = [site for trace in traces for site in sample_sites(trace).values()]
            if any(site["infer"].get("_enumerate_dim") is not None for site in sites):
                traces = draw_traces(self.model, self.guide, *data)  # a mean over all values would weigh them alike
            terms = elbo_terms(*traces)
        return loss, terms
