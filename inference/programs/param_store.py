"""Keep Pyro's global parameter store as it was, and out of what is trained."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
from pyro.poutine.messenger import Messenger
from torch import Tensor


@contextmanager
def param_store_as_it_was() -> Iterator[None]:
    """Forget the parameters that programs register while this is open.

    Calling a ``PyroModule`` enters its parameters into the global store by name.  Another pair
    with the same names would find them there, and ``SVI`` would train those in place of its own.
    Parameters that were in the store before stay, so programs that use ``pyro.param`` find theirs.
    """
    store = pyro.get_param_store()
    before = set(store.keys())
    try:
        yield
    finally:
        for name in set(store.keys()) - before:
            del store[name]


class ParameterSites(Messenger):
    """Within, notes the values of all ``pyro.param`` sites, and of them alone: the store begins empty."""

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
        """Make sure that the sites are parameters of a module, for others are not trained with it.

        Raises:
            ValueError: if one is not.
        """
        held = {id(parameter) for parameter in parameters}
        outside = sorted(name for name, value in self.values.items() if id(value) not in held)
        if outside:
            raise ValueError(
                f"parameter {', '.join(outside)} is in Pyro's store alone and would not be trained: "
                "make it an nn.Parameter, or a PyroParam, of the model or the guide"
            )
