"""Transforms that compute value and log-determinant in one pass."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions.torch_transform import TransformModule
from torch import Tensor, nn
from torch.distributions import Transform


class Bijector(TransformModule):
    r"""Base class of this package's transforms: two methods define the rest.

    A subclass sets ``domain`` and ``codomain`` and implements

    .. math::
        \texttt{forward\_and\_log\_det}(x) = (f(x),\ \log |\det J_f(x)|), \qquad
        \texttt{inverse\_and\_log\_det}(y) = (f^{-1}(y),\ \log |\det J_{f^{-1}}(y)|).

    PyTorch's interface computes the inverse and the log-determinant in two calls, which runs a
    coupling's network twice; its remedy, a cache, goes stale when the optimiser steps.  Here both are
    computed together and nothing is cached (``cache_size=0``).

    Shapes: with ``event_dim`` dimensions in an event, log-determinants are x.shape[:-event_dim].
    """

    bijective = True

    def __init__(self) -> None:
        super().__init__(cache_size=0)

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def condition(self, context: Tensor) -> Transform:
        """This transform with its network conditioned on a context; itself if it has no network."""
        return self

    def given(self, context: Tensor) -> Transform:
        """Deprecated: the old name of :meth:`condition`."""
        warnings.warn("Bijector.given is deprecated: use condition", DeprecationWarning, stacklevel=2)
        return self.condition(context)

    def _call(self, x: Tensor) -> Tensor:
        return self.forward_and_log_det(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.inverse_and_log_det(y)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |det J_f(x)|, in nats."""
        return self.forward_and_log_det(x)[1]


class ConditionedBijector(Bijector):
    """A transform conditioned on a fixed context.

    Args:
        transform: one whose ``forward_and_log_det`` and ``inverse_and_log_det`` take a context.
        context: what the network sees besides its input.
    """

    def __init__(self, transform: Any, context: Tensor) -> None:
        super().__init__()
        self.transform = transform
        self.context = context
        self.domain = transform.domain
        self.codomain = transform.codomain

    def forward_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform.forward_and_log_det(x, self.context)

    def inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform.inverse_and_log_det(y, self.context)


def condition(transform: Transform, context: Tensor) -> Transform:
    """The transform conditioned on a context; unchanged unless it, or its inverse, is a :class:`Bijector`."""
    if isinstance(transform, Bijector):
        old = type(transform).given is not Bijector.given  # a subclass from when ``condition`` was called so
        return transform.given(context) if old else transform.condition(context)
    return condition(transform.inv, context).inv if isinstance(transform.inv, Bijector) else transform


def modules_of(transforms: Sequence[Transform]) -> nn.ModuleList:
    """The transforms that are modules or inverses of modules, each once, to be registered."""
    found: list[nn.Module] = []
    for part in (part for transform in transforms for part in (transform, transform.inv)):
        if isinstance(part, nn.Module) and not any(part is module for module in found):
            found.append(part)
    return nn.ModuleList(found)


def forward_and_log_det(transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """The value and the log-determinant, in one pass for a :class:`Bijector` or its inverse.

    Autocast is switched off for other transforms, whose scales and sums could have half precision.
    """
    if isinstance(transform, Bijector):
        return transform.forward_and_log_det(x)
    if isinstance(transform.inv, Bijector):
        return transform.inv.inverse_and_log_det(x)
    with torch.autocast(x.device.type, enabled=False):
        y = transform(x)
        return y, transform.log_abs_det_jacobian(x, y)


def inverse_and_log_det(transform: Transform, y: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse and its log-determinant, in one pass for a :class:`Bijector` or its inverse."""
    return forward_and_log_det(transform.inv, y)
