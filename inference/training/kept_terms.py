"""The terms of many batches, without a long-lived tensor for each."""

from collections.abc import Iterable

import torch
from torch import Tensor

from inference.programs.terms import Terms

_LATEST = 20  # batches, which a display averages


class KeptTerms:
    """The terms of batches: the latest batch by batch, and all earlier ones flattened into one.

    A small tensor that stays, among large ones that come and go, keeps the memory allocator from using their
    places again: an epoch of many steps would need more and more memory.

    Args:
        terms: of earlier batches.

    Example:
        >>> import torch
        >>> from inference.programs.terms import Terms
        >>> kept = KeptTerms()
        >>> for number in range(100):
        ...     kept.append(Terms(torch.zeros(5), torch.full((5,), float(number))))
        >>> len(kept.latest) <= 40, torch.cat([part.reconstruction for part in kept.all()]).shape
        (True, torch.Size([500]))
    """

    def __init__(self, terms: Iterable[Terms] = ()) -> None:
        self.latest: list[Terms] = []
        self._earlier: list[Tensor] = []  # a buffer for each of the two terms, once there are earlier ones
        self._count = 0  # numbers in each
        for part in terms:
            self.append(part)

    def append(self, terms: Terms) -> None:
        """Add the terms of a batch."""
        self.latest.append(terms)
        if len(self.latest) == 2 * _LATEST:
            moved, self.latest = self.latest[:_LATEST], self.latest[_LATEST:]
            size = self._count + sum(part.kl.numel() for part in moved)
            self._earlier = self._earlier or [part.new_empty(0) for part in terms]
            for i, parts in enumerate(zip(*moved, strict=True)):
                self._earlier[i] = _with_room(self._earlier[i], size)
                self._earlier[i][self._count : size] = torch.cat([part.flatten() for part in parts])
            self._count = size

    def all(self) -> list[Terms]:
        """The terms of all batches, in order; the last entry is the last batch."""
        earlier = [Terms(*(buffer[: self._count] for buffer in self._earlier))] if self._earlier else []
        return [*earlier, *self.latest]


def _with_room(buffer: Tensor, size: int) -> Tensor:
    """The buffer, or a copy at least twice as long if it is too short."""
    if len(buffer) >= size:
        return buffer
    longer = buffer.new_empty(max(size, 2 * len(buffer)))
    longer[: len(buffer)] = buffer
    return longer
