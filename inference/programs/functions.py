"""Plain functions as modules, for programs that keep their parameters in Pyro's store."""

import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
from pyro import poutine
from pyro.distributions import constraints
from pyro.params import module_from_param_with_module_name, param_with_module_name
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import transform_to

from inference.data.protocol import DataSet
from inference.programs.checks import check_takes_labels
from inference.programs.evaluation_mode import ModulesFound
from inference.programs.failures import describe_error, explain_failure
from inference.programs.param_store import param_store_unchanged

_FIRST = 200  # observations that parameters made from data start from
_SAID = ("__name__", "levels", "num_classes", "random_density")  # what a program says of itself, see ``protocols``


class FunctionModule(nn.Module):
    """A function that is a Pyro program, as a module of what it calls by ``pyro.param`` and ``pyro.module``.

    A parameter is named "param:NAME" here and a module "module:NAME", with dots written as "%2E".

    Args:
        function: the program.
        modules: what it passes to ``pyro.module``, by name.
        parameters: the values of its other ``pyro.param`` sites, unconstrained, by name.
        known: the constraints of sites, unless they are real numbers.
    """

    def __init__(
        self,
        function: Callable,
        modules: dict[str, nn.Module],
        parameters: dict[str, nn.Parameter],
        known: dict[str, constraints.Constraint],
    ) -> None:
        super().__init__()
        self.function = function
        self.constraints = known
        self.owners: dict[str, tuple[nn.Module, str]] = {}  # of the parameter of each site
        for name, parameter in parameters.items():
            self.register_parameter(_legal("param", name), parameter)
            self.owners[name] = self, _legal("param", name)
        for name, module in modules.items():
            self.add_module(_legal("module", name), module)
            for path, _ in module.named_parameters():
                owner, _, leaf = path.rpartition(".")
                self.owners[param_with_module_name(name, path)] = module.get_submodule(owner), leaf
        for attribute in _SAID:
            if hasattr(function, attribute):
                setattr(self, attribute, getattr(function, attribute))

    def forward(self, *data: Tensor) -> Any:
        with _Answers(self):
            return self.function(*data)

    def unconstrained(self, site: str) -> Any:
        """The parameter behind a site."""
        owner, leaf = self.owners[site]
        return owner._parameters[leaf]  # in a compiled step a stand-in, which is no nn.Parameter


class _Answers(Messenger):
    """Answers ``pyro.param`` from a module rather than from Pyro's store."""

    def __init__(self, module: FunctionModule) -> None:
        super().__init__()
        self.module = module

    def _pyro_param(self, message: Any) -> None:
        name = message["name"]
        if name not in self.module.owners:
            raise LookupError(  # to which Pyro adds no table of shapes
                f"parameter {name!r} was not there when the program first ran, and would not be trained: call "
                "pyro.param and pyro.module before any branch that depends on the data"
            )
        parameter = self.module.unconstrained(name)
        value = transform_to(self.module.constraints.get(name, constraints.real))(parameter)
        value.unconstrained = weakref.ref(parameter)  # as the store's values have it
        message["value"], message["done"] = value, True


def as_modules(model: Callable, guide: Callable, data: DataSet) -> tuple[nn.Module, nn.Module]:
    """A pair as modules: functions run once, to find their parameters, and modules stay as they are.

    Parameters start from their values in Pyro's store, which is left as it was.  New ones that are computed
    from the data, such as ``pyro.param("loc", lambda: x.mean(0))``, see the first 200 observations.  Two functions
    share a parameter if they call it by the same name.

    Raises:
        ValueError: if the programs cannot be run; one line says why.
    """
    if isinstance(model, nn.Module) and isinstance(guide, nn.Module):
        return model, guide
    if data.conditional:
        check_takes_labels(model, guide)
    store = pyro.get_param_store()
    few = data.arguments(slice(_FIRST))
    device = next((value.device for _, value in store.named_parameters()), few[0].device)  # where ``fit`` left them
    few = tuple(part.to(device) for part in few)
    try:
        with param_store_unchanged(), ModulesFound() as found, warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* was not registered in the param store")  # as frozen ones are not
            guide_trace = poutine.trace(guide).get_trace(*few)
            model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*few)
            values, known = dict(store.named_parameters()), dict(store._constraints)
    except Exception as error:  # a user's own programs may raise anything
        cause = explain_failure(model, guide, *few) or f"model and guide cannot be run: {describe_error(error)}"
        raise ValueError(cause) from error
    leaves = {
        name: value if isinstance(value, nn.Parameter) else nn.Parameter(value.detach())
        for name, value in values.items()
    }
    return (
        _as_module(model, model_trace.param_nodes, found.modules, leaves, known),
        _as_module(guide, guide_trace.param_nodes, found.modules, leaves, known),
    )


def _as_module(
    program: Callable,
    sites: list[str],
    modules: dict[str, nn.Module],
    leaves: dict[str, nn.Parameter],
    known: dict[str, constraints.Constraint],
) -> nn.Module:
    """A program as a module of the parameters that it calls; ``modules`` and ``leaves`` are those of both programs."""
    if isinstance(program, nn.Module):
        return program
    owners = {site: module_from_param_with_module_name(site) if "$$$" in site else "" for site in sites}
    called = {owner: modules[owner] for owner in owners.values() if owner in modules}
    return FunctionModule(program, called, {site: leaves[site] for site in sites if owners[site] not in called}, known)


@contextmanager
def stored_afterwards(*programs: nn.Module) -> Iterator[None]:
    """On leaving, in whatever way, Pyro's store holds the parameters of functions under the names of their sites."""
    store = pyro.get_param_store()
    try:
        yield
    finally:
        for program in (program for program in programs if isinstance(program, FunctionModule)):
            for site in program.owners:
                value, constraint = program.unconstrained(site), program.constraints.get(site, constraints.real)
                if site in store:  # users may hold that tensor
                    dict(store.named_parameters())[site].data = value.data
                elif value.requires_grad:  # Pyro leaves frozen ones out
                    store.set_state({"params": {site: value}, "constraints": {site: constraint}})


def _legal(kind: str, name: str) -> str:
    """A name that torch takes for a part of a module: different for different names, and none of its attributes."""
    return f"{kind}:{name.replace('%', '%25').replace('.', '%2E')}"
