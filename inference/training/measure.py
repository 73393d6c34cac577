"""The terms of the negative ELBO on a whole data set."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from inference.data.protocol import DataSet
from inference.programs.checks import check_levels
from inference.programs.support import check_observed
from inference.programs.terms import Terms, batches_joined, check_plates, draw_traces, elbo_terms
from inference.system.processes import share_of
from inference.system.randomness import set_seed
from inference.system.switches import validating
from inference.training.kept_terms import KeptTerms


@torch.no_grad()
def measure(
    model: Callable, guide: Callable, data: DataSet, batch_size: int, place: tuple[int, ...] = (0,)
) -> list[Terms]:
    """The terms of the negative ELBO on every batch, with one draw of the latents for each observation.

    Puts modules into evaluation mode; ``place`` seeds the draws.  Several processes measure their shares
    of the data, and each returns the terms of all.  The densities are those of what the programs are shown.

    Raises:
        ValueError: if the data do not suit the model, or hold values that it could not draw.
    """
    check_levels(model, data)
    for program in (model, guide):
        if isinstance(program, nn.Module):
            program.eval()
    set_seed(*place)
    with validating(False):
        batches = data.batches(batch_size, share_of(len(data)))
        return batches_joined(KeptTerms(_checked_terms(model, guide, *batch) for batch in batches).all())


def _checked_terms(model: Callable, guide: Callable, *data: Tensor) -> Terms:
    model_trace, guide_trace = draw_traces(model, guide, *data)
    check_plates(len(data[0]), model_trace, guide_trace)
    check_observed(model_trace)
    return elbo_terms(model_trace, guide_trace)
