"""What figures draw of a pair: observations, reconstructions, posterior means."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro import poutine
from pyro.poutine import Trace
from torch import Tensor

from inference.data.protocol import DataSet
from inference.programs.evaluation_mode import evaluating
from inference.programs.failures import describe_error
from inference.programs.param_store import param_store_unchanged
from inference.programs.terms import check_plates, draw_traces, sample_sites
from inference.system.randomness import generators_as_they_were, set_seed
from inference.system.switches import validating


@contextmanager
def undisturbed(seed: int, *programs: Callable) -> Iterator[None]:
    """Draw from a seed, in evaluation mode; afterwards generators, modes and switches are as they were."""
    with generators_as_they_were(), evaluating(*programs), torch.no_grad(), validating(False):
        set_seed(seed)
        yield


@contextmanager
def _failures_in_one_line(program: Callable, *data: Tensor) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, TypeError, IndexError) as error:  # a program's own error rarely says enough
        name, shape = getattr(program, "__name__", type(program).__name__), tuple(data[0].shape[1:])
        cause = describe_error(error, program)
        raise ValueError(f"the model {name} cannot be run on data of shape {shape}: {cause}") from error


def drawn(model: Callable, count: int, labels: Tensor | None = None, data: DataSet | None = None) -> Any:
    """The observed site of ``count`` draws from a model: "value" holds them, "fn" is p(x | latents).

    The model is called with rows of the data, which Pyro's ``uncondition`` keeps it from observing; without data,
    as ``model(None, batch=count)``, and then its site must be called ``x``.

    Raises:
        ValueError: if the model cannot be run, observes several sites, or draws what is not finite.
    """
    given = () if labels is None else (labels,)
    with param_store_unchanged():
        if data is not None:
            x, *_ = data.arguments(torch.arange(count) % len(data))
            with _failures_in_one_line(model, x):
                trace = poutine.trace(poutine.uncondition(model)).get_trace(x, *given)
            site = observed_site(trace)
        else:
            _check_draws_by_itself(model)
            trace = poutine.trace(model).get_trace(None, *given, batch=count)
            site = sample_sites(trace).get("x")
            if site is None:
                raise ValueError(f"the model has no site x, only {', '.join(sample_sites(trace))}: give data too")
    check_plates(count, trace)
    if data is not None and site["value"].shape[1:] != data.shape:
        drawn_shape = tuple(site["value"].shape[1:])
        raise ValueError(f"the model draws {drawn_shape}, but {data.name} holds {tuple(data.shape)}: give its own data")
    if not torch.isfinite(site["value"]).all():
        raise ValueError("the model draws values that are not finite (NaN or infinity): train it again")
    return site


def _check_draws_by_itself(model: Callable) -> None:
    if "batch" not in inspect.signature(getattr(model, "forward", model)).parameters:
        raise ValueError("only a model that is called as model(None, batch=count) draws without data: give data too")


def observed_site(trace: Trace) -> Any:
    """The one site that a model observes, or would without ``uncondition``.

    Raises:
        ValueError: if there is not one.
    """
    sites = {
        name: site
        for name, site in sample_sites(trace).items()
        if site["is_observed"] or (site["infer"] or {}).get("was_observed")
    }
    if len(sites) != 1:
        raise ValueError(f"figures are of one observed site; the model observes {', '.join(sites) or 'nothing'}")
    return next(iter(sites.values()))


def shown(fn: Any) -> Tensor:
    """The mean of a distribution, or a draw if the mean is unknown."""
    try:
        return fn.mean
    except NotImplementedError:
        return fn.sample()


@torch.no_grad()
def reconstructed(model: Callable, guide: Callable, *data: Tensor) -> Tensor:
    """p(x | latents), see :func:`shown`, for latents drawn from the guide."""
    with _failures_in_one_line(model, *data):
        model_trace, _ = draw_traces(model, guide, *data)
    return shown(observed_site(model_trace)["fn"])
