"""Buffers of a module whose programs run more than once in a step."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class Buffers:
    """What a module's buffers are, so that later passes of the same step see them so and leave no trace.

    A pass may move buffers: running statistics, counters, the flag of a part that initialises itself.

    Args:
        module: whose buffers are noted, with copies of their values.
    """

    def __init__(self, module: nn.Module) -> None:
        parts = [part._buffers for part in module.modules()]
        named = [(slots, name, buffer) for slots in parts for name, buffer in slots.items() if buffer is not None]
        copies = {id(buffer): buffer.clone() for _, _, buffer in named}  # one of a buffer that two modules share
        self._noted = [(slots, name, buffer, buffer._version, copies[id(buffer)]) for slots, name, buffer in named]
        self._parameters = [(parameter, parameter._version) for parameter in module.parameters()]

    @contextmanager
    def as_noted(self) -> Iterator[None]:
        """Within, buffers are what they were then; afterwards they are what they are now.

        A pass that wrote to parameters has initialised them, and is not to do so again: flags then
        stay as they are now, and statistics begin from what they are now.
        """
        initialised = any(parameter._version != version for parameter, version in self._parameters)
        now = []
        for slots, name, buffer, version, copy in self._noted:
            left = slots[name]
            # statistics may move without a new version; the rest is left alone until it moves: graphs hold it constant
            moved = left is not buffer or buffer._version != version
            if left is not None and (left.is_floating_point() or (moved and not initialised)):
                now.append((slots, name, left))
                slots[name] = left.clone() if initialised else copy
        try:
            yield
        finally:
            for slots, name, left in now:
                slots[name] = left
