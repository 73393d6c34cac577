"""A bound for each observation, with the interface of Pyro's ELBO."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.infer.util import torch_item
from torch import Tensor

from inference.programs.importance import log_weights_with_gradients


class ImageELBO(ELBO):
    r"""A Pyro ELBO made of one bound on log p(x) for each observation; the loss is their negative sum, in nats.

    Write :meth:`bound` in a subclass.  Latents must be reparameterised (have ``rsample``), and every site
    must lie in the batch's plate.  Pyro's own classes sum over the batch before a subclass sees a
    number, so this one draws all particles itself and leaves ``_get_trace`` out.

    Args:
        num_particles: draws of the latents for each observation, made at once.

    Raises:
        ValueError: if ``num_particles`` is below 1.
    """

    def __init__(self, num_particles: int = 1) -> None:
        if not isinstance(num_particles, int) or num_particles < 1:
            raise ValueError(f"num_particles must be a whole number of at least 1; got {num_particles}")
        super().__init__(num_particles=num_particles, max_plate_nesting=1, vectorize_particles=True)

    def bound(self, model: Callable, guide: Callable, *data: Tensor) -> Tensor:
        """The bound for each observation, (B,), with the estimator's gradient."""
        raise NotImplementedError

    def log_weights(self, model: Callable, guide: Callable, *data: Tensor) -> Tensor:
        """log p(x, z) - log q(z | x) of every particle, (num_particles, B), with gradients."""
        return log_weights_with_gradients(model, guide, self.num_particles, *data)

    def differentiable_loss(self, model: Callable, guide: Callable, *data: Tensor) -> Tensor:
        return -self.bound(model, guide, *data).sum()

    @torch.no_grad()
    def loss(self, model: Callable, guide: Callable, *data: Tensor) -> float:
        return torch_item(self.differentiable_loss(model, guide, *data))

    def _get_trace(self, *_: Any) -> Any:
        raise NotImplementedError("the particles are traced all at once")

    def loss_and_grads(self, model: Callable, guide: Callable, *data: Any) -> float:
        loss = self.differentiable_loss(model, guide, *data)
        loss.backward()
        return torch_item(loss)


def without_negligible(log_w: Tensor) -> Tensor:
    """Log weights, (num_particles, B), with the negligible ones raised to a floor, where they have no gradient.

    Times a derivative, their shares would be denormal numbers, which a processor handles up to a hundred times more
    slowly.  At the floor a share is still too small to matter, but its square is a normal number.
    """
    negligible = min(-22.0, math.log(torch.finfo(log_w.dtype).tiny) / 4)  # the latter is -22 in float32
    floor = log_w.detach().amax(0) + negligible
    return log_w.where(~(log_w < floor), floor)  # the largest one keeps its gradient where rounding makes it the floor
