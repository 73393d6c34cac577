"""Whether the density of what programs see can be turned into that of the data as they came."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine import Trace

from inference.data.protocol import DataSet
from inference.programs.evaluation_mode import evaluating
from inference.programs.particles import check_particles
from inference.programs.terms import draw_traces, kind_of, sample_sites
from inference.system.randomness import generators_as_they_were
from inference.system.switches import validating


@torch.no_grad()
@generators_as_they_were()
def check_measures(model: Callable, guide: Callable, data: DataSet) -> None:
    """Make sure that the numbers measured of a pair are those of the data: see the two checks that it makes.

    Raises:
        ValueError: as :func:`~inference.programs.particles.check_particles` and :func:`check_observes_all`.
    """
    few = data.arguments(data.extremes())
    check_particles(model, guide, *few)
    if data.log_det:
        with evaluating(model, guide), validating(False):
            try:
                model_trace, _ = draw_traces(model, guide, *few)
            except Exception:  # a user's own programs may raise anything; measuring says what
                return
        check_observes_all(model_trace, data, len(few[0]))


def check_observes_all(model_trace: Trace, data: DataSet, batch: int) -> None:
    """Make sure that ``log_det``, which is that of all dimensions, belongs to what a model observes.

    Discrete values, such as labels, have no part in it.

    Raises:
        ValueError: if the model observes fewer dimensions of the data, or more.
    """
    sites = [site for site in sample_sites(model_trace).values() if site["is_observed"]]
    observed = sum(_numbers(site) for site in sites if kind_of(site["fn"]) != "discrete")
    if data.log_det and observed != batch * data.num_dims:
        raise ValueError(
            f"the model observes {observed / batch:.3g} of the {data.num_dims} dimensions of {data.name}, but "
            "log_det, the unit of its densities, is that of all: show it data that are not standardised"
        )


def _numbers(site: Any) -> int:
    """How many numbers a site observes, not counting masked ones."""
    fn, mask = site["fn"], site["mask"]
    seen = torch.ones(fn.batch_shape, device="cpu") if mask is None else torch.as_tensor(mask).expand(fn.batch_shape)
    return int(seen.sum()) * fn.event_shape.numel()
