"""The two halves of an event in a coupling: one stays as it is, the other is transformed."""

from typing import NamedTuple

import torch
from torch import Tensor


class Halves(NamedTuple):
    """The halves of the dimension ``dim``, negative; the second is changed given the first, or ``swap``."""

    dim: int
    swap: bool

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees, and what is changed.

        Raises:
            ValueError: if the dimension is odd.
        """
        size = x.shape[self.dim]
        if size % 2:
            raise ValueError(
                f"a coupling needs two equal halves, but dimension {self.dim} has size {size}, which is odd"
            )
        first, second = x.chunk(2, dim=self.dim)
        return (second, first) if self.swap else (first, second)

    def join(self, seen: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, seen] if self.swap else [seen, changed], dim=self.dim)
