"""Try a pair on a few observations before spending hours on it."""

import warnings
from collections.abc import Callable

import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from inference.data.errors import DataError
from inference.data.protocol import DataSet
from inference.objectives.with_terms import ELBOWithTerms
from inference.programs.checks import check_levels, check_takes_labels
from inference.programs.evaluation_mode import evaluating
from inference.programs.failures import SiteChecks, describe_error, explain_failure
from inference.programs.functions import as_modules
from inference.programs.param_store import ParameterSites, param_store_unchanged
from inference.programs.particles import check_particles
from inference.programs.support import check_observed
from inference.programs.terms import check_plates, draw_traces
from inference.programs.units import check_observes_all
from inference.programs.unregistered import unregistered_modules
from inference.system.randomness import generators_as_they_were
from inference.system.renamed import renamed
from inference.system.switches import gradients_on, validating


@renamed(images="data")
@generators_as_they_were()
@gradients_on()
def check_pair(model: Callable, guide: Callable, data: DataSet, objective: ELBO) -> list[str]:
    """Run the loss once on a few observations, with Pyro's own checks on, and change nothing.

    Model and guide are modules, or functions that keep their parameters in Pyro's store.

    Returns the names of the parameters that the loss does not depend on, and warns of modules that functions use
    without ``pyro.module``.

    Raises:
        ValueError: if model, guide, data and objective do not fit together; one line says why.
    """
    check_levels(model, data)
    check_levels(guide, data, half="guide")
    if data.conditional:
        check_takes_labels(model, guide)
    model, guide = as_modules(model, guide, data)
    _check_dtypes(model, guide, data)
    few: list[Tensor] = []
    try:
        with (
            evaluating(model, guide),
            validating(True),
            param_store_unchanged(),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "Found (non-auxiliary )?vars in")  # reported in one line below
            warnings.filterwarnings("error", "Failed to verify mean field restriction")  # its loss would be wrong
            few = [*data.arguments(data.extremes())]
            device = next(nn.ModuleList([model, guide]).parameters(), few[0]).device
            few = [part.to(device) for part in few]
            _check_traces(model, guide, data, *few)
            with ParameterSites() as sites, SiteChecks(len(few[0])):
                loss, _ = ELBOWithTerms(objective, model, guide)(*few)
    except DataError:  # a file that changed is no fault of the pair
        raise
    except Exception as error:  # a user's own programs may raise anything
        raise ValueError(
            (explain_failure(model, guide, *few) if few else None)
            or f"model, guide and objective cannot be run together: {describe_error(error, model, guide)}"
        ) from error
    sites.check_held_by([*model.parameters(), *guide.parameters()])
    trained = {name: p for name, p in nn.ModuleList([model, guide]).named_parameters() if p.requires_grad}
    for name in unregistered_modules(loss, model, guide) if loss.requires_grad else ():
        warnings.warn(
            f"module {name!r} is not trained: pyro.module({name!r}, {name}) in the function makes fit train it "
            f"({name}.requires_grad_(False) says that it is to stay)",
            stacklevel=2,
        )
    if not (loss.requires_grad and trained):
        raise ValueError(
            "the loss depends on no parameter: there is nothing to train (a function says what is by pyro.param and "
            "pyro.module)"
        )
    gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    return [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]


@torch.no_grad()
def _check_traces(model: Callable, guide: Callable, data: DataSet, *few: Tensor) -> None:
    try:
        model_trace, guide_trace = draw_traces(model, guide, *few)
    except Exception:  # the loss will say more
        return
    check_plates(len(few[0]), model_trace, guide_trace)
    check_observed(model_trace)
    check_observes_all(model_trace, data, len(few[0]))
    check_particles(model, guide, *few)


def _check_dtypes(model: nn.Module, guide: nn.Module, data: DataSet) -> None:
    """Make sure that double precision is not lost on the way, as it is wherever the two types are mixed."""
    dtype = data.arguments(slice(1))[0].dtype
    for half, program in (("model", model), ("guide", guide)):
        for name, parameter in program.named_parameters():
            if dtype == torch.float64 and parameter.dtype == torch.float32:
                raise ValueError(
                    f"{data.name} is float64, but parameter {name} of the {half} is float32: make them float64 with "
                    "model.double() and guide.double(), or the data float32"
                )
