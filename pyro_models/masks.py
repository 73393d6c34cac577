"""Masks are loaded with the weights, and must not let a network see more than before."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def guard_masks(net: nn.Module) -> None:
    """Refuse weights whose masks would let an output of a chain of masked layers see more inputs than it does now.

    A density made of such networks integrates to one because of what their outputs do not see, and Pyro and zuko store
    the masks with the weights: with changed masks the numbers would not be log-densities.  ``load_state_dict`` then
    raises ValueError and leaves outputs that see nothing.  The order in which Pyro inverts must stay what it is.
    """
    order = getattr(net, "permutation", None)  # in which Pyro inverts
    kept = order.clone() if isinstance(order, Tensor) else None
    net.register_load_state_dict_post_hook(partial(_check, allowed=dependences(net), order=kept))


def dependences(net: nn.Module) -> Tensor:
    """Which outputs of a chain of masked layers see which inputs, (outputs, inputs)."""
    first, *others = (mask.cpu() != 0 for mask in _masks(net))
    for mask in others:
        first = mask.float() @ first.float() > 0
    return first


def _masks(net: nn.Module) -> list[Tensor]:
    return [layer.mask for layer in net.modules() if isinstance(getattr(layer, "mask", None), Tensor)]  # type: ignore[misc]


def _check(net: nn.Module, _: Any, allowed: Tensor, order: Tensor | None) -> None:
    if order is not None and not torch.equal(net.permutation.cpu(), order):  # type: ignore[arg-type]
        net.permutation.copy_(order)  # type: ignore[operator]
        raise ValueError("its order of coordinates is not that of its masks, so this would not be a density")
    more = dependences(net) & ~allowed
    if more.any():
        output, seen = more.nonzero()[0].tolist()
        with torch.no_grad():
            _masks(net)[-1].zero_()
        raise ValueError(f"its masks would let output {output} see input {seen}, so this would not be a density")
