"""Masks that come with weights and may not let a network see more."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def guard_masks(net: nn.Module) -> None:
    """Let a chain of masked layers load no weights whose masks would show an output more of the inputs than now.

    A density made of such networks has integral one because of what their outputs do not see, and Pyro and zuko keep
    the masks among the weights: changed ones would give numbers that are no log-densities.  After loading such,
    ``load_state_dict`` raises ValueError, and the outputs see nothing.
    """
    net.register_load_state_dict_post_hook(partial(_check, allowed=dependences(net)))


def dependences(net: nn.Module) -> Tensor:
    """Which outputs of a chain of masked layers see which inputs, (outputs, inputs)."""
    first, *others = (mask.cpu() != 0 for mask in _masks(net))
    for mask in others:
        first = mask.float() @ first.float() > 0
    return first


def _masks(net: nn.Module) -> list[Tensor]:
    return [layer.mask for layer in net.modules() if isinstance(getattr(layer, "mask", None), Tensor)]  # type: ignore[misc]


def _check(net: nn.Module, _: Any, allowed: Tensor) -> None:
    more = dependences(net) & ~allowed
    if more.any():
        output, seen = more.nonzero()[0].tolist()
        with torch.no_grad():
            _masks(net)[-1].zero_()
        raise ValueError(f"its masks would let output {output} see input {seen}, and it would be no density")
