"""Pyro's global parameter store, left unchanged and kept out of training."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
from pyro.poutine.messenger import Messenger
from torch import Tensor


@contextmanager
def param_store_unchanged() -> Iterator[None]:
    """Remove from the store, at the end, the parameters that programs registered inside.

    Calling a ``PyroModule`` registers its parameters in the global store by name.  Another pair
    with the same names would find them there, and ``SVI`` would train those instead of its own.
    Parameters registered before stay, so programs that use ``pyro.param`` find theirs.

    Pyro's setting ``module_local_params`` cannot do this for a user's modules: it must be on when they
    are built, and refuses ``pyro.param`` in them.  ``store.scope(store.get_state())`` removes the attribute
    ``unconstrained`` from constrained parameters that a user may hold.
    """
    store = pyro.get_param_store()
    before = set(store.keys())
    try:
        yield
    finally:
        for name in set(store.keys()) - before:
            del store[name]


class ParameterSites(Messenger):
    """Records the value of every ``pyro.param`` site; inside, the store starts empty."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Tensor] = {}
        self._store = pyro.get_param_store().scope()

    def __enter__(self) -> "ParameterSites":
        self._store.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._store.__exit__(*error)

    def _pyro_post_param(self, message: Any) -> None:
        value = message["value"]
        self.values[message["name"]] = value.unconstrained() if hasattr(value, "unconstrained") else value

    def check_held_by(self, parameters: Iterable[Tensor]) -> None:
        """Make sure that every site is one of a module's parameters: others would not be trained.

        Raises:
            ValueError: if a site is not.
        """
        held = {id(parameter) for parameter in parameters}
        outside = sorted(name for name, value in self.values.items() if id(value) not in held)
        if outside:
            raise ValueError(
                f"parameter {', '.join(outside)} is in Pyro's store alone and would not be trained: "
                "make it an nn.Parameter, or a PyroParam, of the model or the guide"
            )
