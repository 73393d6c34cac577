"""Bounded log scales."""

import torch
from torch import Tensor


def check_bound(bound: float | None) -> None:
    """Check the bound of a log scale.

    Raises:
        ValueError: if it is neither positive nor None.
    """
    if bound is not None and not bound > 0:
        raise ValueError(f"bound must be positive, or None for no bound; got {bound}")


def bounded(raw: Tensor, bound: float | None) -> Tensor:
    """b tanh(raw / b), nearly raw itself where that is small; with None raw itself."""
    return raw if bound is None else bound * torch.tanh(raw / bound)
