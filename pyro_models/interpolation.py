"""Paths between two points of a latent space."""

import torch
from torch import Tensor

from pyro_models.sizes import check_at_least


def straight(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""(1 - t) a + t b at ``steps`` values of t from 0 to 1; shape (steps, \*a.shape).

    Raises:
        ValueError: if the points differ in shape, or ``steps`` is below 1.
    """
    _check(a, b, steps)
    return torch.stack([a + t * (b - a) for t in torch.linspace(0, 1, steps).tolist()])


def great_circle(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""The path that rotates from a to b while its length changes linearly; shape (steps, \*a.shape).

    .. math::
        \big((1 - t) \|a\| + t \|b\|\big)
        \frac{\sin((1 - t) \omega)\, \hat a + \sin(t \omega)\, \hat b}{\sin \omega}, \qquad
        \cos \omega = \hat a \cdot \hat b, \quad \hat a = a / \|a\|

    A straight line between two draws of N(0, I) in many dimensions passes through points far too
    short to be draws themselves; this path does not.  Between opposite points no circle is shorter than the others,
    and the path goes straight through zero.

    Raises:
        ValueError: as for :func:`straight`.

    Source: Shoemake, "Animating rotation with quaternion curves" (1985); White, "Sampling
    generative networks" (2016), section 2.1.

    Example:
        >>> import torch
        >>> from pyro_models import great_circle
        >>> great_circle(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0]), steps=3).round(decimals=2)
        tensor([[2.0000, 0.0000],
                [2.1200, 2.1200],
                [0.0000, 4.0000]])
    """
    _check(a, b, steps)
    lengths = [v.norm(dim=-1, keepdim=True).clamp(min=1e-12) for v in (a, b)]
    start, end = a / lengths[0], b / lengths[1]
    omega = (start * end).sum(-1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).acos()

    def at(t: float) -> Tensor:
        direction = (((1 - t) * omega).sin() * start + (t * omega).sin() * end) / omega.sin()
        return ((1 - t) * lengths[0] + t * lengths[1]) * direction

    return torch.stack([at(t) for t in torch.linspace(0, 1, steps).tolist()])


def _check(a: Tensor, b: Tensor, steps: int) -> None:
    check_at_least(1, steps=steps)
    if a.shape != b.shape or not a.dim():
        raise ValueError(f"the two points must have the same shape; got {tuple(a.shape)} and {tuple(b.shape)}")
