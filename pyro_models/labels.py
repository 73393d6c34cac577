"""One-hot labels."""

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor


def one_hot(labels: Tensor | None, num_classes: int, dtype: torch.dtype) -> Tensor | None:
    """Labels (B,) as one-hot vectors (B, num_classes); None stays None.

    Raises:
        ValueError: if labels are missing although there are classes, given although there are none, or
            not whole numbers from 0 to num_classes - 1 (that range only if Pyro's validation is on).
    """
    if num_classes < 0:
        raise ValueError(f"num_classes must be at least 0 (0 for none); got {num_classes}")
    if (labels is None) != (num_classes == 0):
        expected = f"labels from 0 to {num_classes - 1}" if num_classes else "no labels"
        raise ValueError(f"this model takes {expected}; got {'none' if labels is None else 'some'}")
    if labels is None:
        return None
    if labels.is_floating_point() or labels.dim() != 1:
        raise ValueError(f"labels must be whole numbers of shape (B,); got {labels.dtype}, {tuple(labels.shape)}")
    same = labels[:, None] == torch.arange(num_classes, device=labels.device)
    if is_validation_enabled() and not same.any(-1).all():
        raise ValueError(f"labels must be from 0 to {num_classes - 1}; got {labels.min()} to {labels.max()}")
    return same.to(dtype)
