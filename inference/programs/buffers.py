"""Buffers of a module whose programs run more than once in a step."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class BufferSnapshot:
    """A module's buffers as they are now, for later passes of the same step to start from.

    A pass may change buffers: running statistics, counters, the flag of a part that initialises itself.

    Args:
        module: the module; values are copied.
    """

    def __init__(self, module: nn.Module) -> None:
        parts = [part._buffers for part in module.modules()]
        named = [(slots, name, buffer) for slots in parts for name, buffer in slots.items() if buffer is not None]
        copies = {id(buffer): buffer.clone() for _, _, buffer in named}  # one of a buffer that two modules share
        self._noted = [(slots, name, buffer, buffer._version, copies[id(buffer)]) for slots, name, buffer in named]
        self._parameters = [(parameter, parameter._version) for parameter in module.parameters()]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Give the buffers the values of the snapshot, and afterwards those they have now.

        If a pass wrote to parameters since the snapshot, it initialised them, which must not happen
        twice: then flags keep the values they have now, and statistics start from theirs.
        """
        initialised = any(parameter._version != version for parameter, version in self._parameters)
        now = []
        for slots, name, buffer, version, copy in self._noted:
            left = slots[name]
            # statistics may change without a new version; others are replaced only once changed, as graphs hold them
            moved = left is not buffer or buffer._version != version
            if left is not None and (left.is_floating_point() or (moved and not initialised)):
                now.append((slots, name, left))
                slots[name] = left.clone() if initialised else copy
        try:
            yield
        finally:
            for slots, name, left in now:
                slots[name] = left


@contextmanager
def buffers_as_they_were(*modules: nn.Module) -> Iterator[None]:
    """On leaving, the buffers of the modules have the values of before."""
    parts = [part._buffers for module in modules for part in module.modules()]
    kept = [
        (slots, name, buffer, buffer._version, buffer.clone())
        for slots in parts
        for name, buffer in slots.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for slots, name, buffer, version, copy in kept:
            slots[name] = buffer
            if buffer._version != version:
                buffer.copy_(copy)
