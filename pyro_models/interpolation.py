"""Paths between two points of a latent space."""

import torch
from torch import Tensor


def straight(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""(1 - t) a + t b at ``steps`` values of t from 0 to 1; shape (steps, \*a.shape)."""
    return torch.stack([a + t * (b - a) for t in torch.linspace(0, 1, steps).tolist()])


def great_circle(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""The path from a to b that keeps to lengths between theirs; shape (steps, \*a.shape).

    .. math::
        \frac{\sin((1 - t) \omega)}{\sin \omega} a + \frac{\sin(t \omega)}{\sin \omega} b, \qquad
        \cos \omega = \frac{a \cdot b}{\|a\| \|b\|}

    A straight line between two draws of N(0, I) in many dimensions passes through points far too
    short to be draws themselves; this path does not.

    Source: Shoemake, "Animating rotation with quaternion curves" (1985); White, "Sampling
    generative networks" (2016), section 2.1.
    """
    cosine = (a * b).sum(-1, keepdim=True) / (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True))
    omega = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()
    return torch.stack(
        [
            (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin()
            for t in torch.linspace(0, 1, steps).tolist()
        ]
    )
