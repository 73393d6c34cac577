"""Keep Pyro's global parameter store as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyro


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
