"""Estimators whose gradient follows the draws only: STL and DReG.

The gradient of log q(z | x) with respect to the guide's parameters has two parts: one through z, and
the score, at fixed z.  The score has mean zero (STL leaves it out), or becomes another gradient
through z (DReG).
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from pyro import poutine
from torch import Tensor, nn

from inference.objectives.bound import ImageELBO, without_negligible
from inference.programs.buffers import BufferSnapshot
from inference.programs.importance import log_joint
from inference.programs.recording import draws_recorded
from inference.programs.terms import check_reparameterised, check_sites, in_particles, sample_sites, trace_at


@contextmanager
def _frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Treat the parameters as constants: nothing computed inside has a gradient with respect to them."""
    needed = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*was not registered in the param store because requires_grad=False")
            yield
    finally:
        for parameter, flag in zip(parameters, needed, strict=True):
            parameter.requires_grad_(flag)


def _generators(device: torch.device) -> list[Tensor]:
    """The states of the random number generators that draws on the device may use."""
    own = [torch.get_device_module(device).get_rng_state(device)] if device.type != "cpu" else []
    return [torch.get_rng_state(), *own]


@contextmanager
def _drawing_from(states: list[Tensor], device: torch.device) -> Iterator[None]:
    """Draw random numbers from these states, and afterwards from the present ones."""
    with torch.random.fork_rng([device] if device.type != "cpu" else [], device_type=device.type):
        torch.set_rng_state(states[0])
        for state in states[1:]:
            torch.get_device_module(device).set_rng_state(state, device)
        yield


class PathDerivative(ImageELBO):
    """A bound with the gradient of log q(z | x) through the draws alone: the guide's parameters are held fixed."""

    def draws_and_weights(self, model: Callable, guide: Callable, *data: Tensor) -> tuple[list[Tensor], Tensor]:
        """The draws z, and log p(x, z) - log q(z | x), (num_particles, B), without the score.

        The guide runs twice: replayed at its own draws, with parameters held fixed, it gives the density.
        Detaching the parameters of the distributions in one trace would not do, because a flow runs its
        networks only inside ``log_prob``.

        Raises:
            TypeError: if the guide is not a module, whose parameters can be held fixed.
            ValueError: if a latent is not reparameterised, or the guide has a random density.
            NotImplementedError: if a graph is being recorded and the guide draws more than its latents.
        """
        module = guide if isinstance(guide, nn.Module) else getattr(guide, "fn", guide)  # of a handler that traces it
        if not isinstance(module, nn.Module):
            raise TypeError("this objective needs a guide that is a torch.nn.Module")
        if getattr(module, "random_density", False):
            raise ValueError(
                f"the density of a {type(module).__name__} is random, and this objective cannot hold it fixed: "
                "choose another guide, or another objective"
            )
        # the second run must see the same noise, of dropout for example, and the same running statistics
        noise, buffers = _generators(data[0].device), BufferSnapshot(module)
        trace = poutine.trace(in_particles(guide, self.num_particles)).get_trace(*data)
        check_reparameterised(trace)
        for site in sample_sites(trace).values():
            site["value"] = site["value"].clone()  # for densities, separate from the value that later latents depend on
        drawn = draws_recorded()
        with _frozen(list(module.parameters())), _drawing_from(noise, data[0].device), buffers.restored():
            held = poutine.trace(poutine.replay(in_particles(guide, self.num_particles), trace=trace)).get_trace(*data)
            density = log_joint(held, data[0])  # inside: a flow runs its networks only now
        if draws_recorded() != drawn:
            raise NotImplementedError("the guide draws noise of its own, which a graph cannot repeat")
        joint = trace_at(model, trace, self.num_particles, *data)
        check_sites(joint, trace)
        draws = [site["value"] for site in sample_sites(trace).values()]
        log_w = (log_joint(joint, data[0]) - density).expand(self.num_particles, len(data[0]))
        return draws, log_w


class STL(PathDerivative):
    r"""The ELBO, with "sticking the landing" gradients.

    .. math::
        \nabla_\phi\, E_q[\log w] = E_\epsilon\Big[\frac{\partial \log w}{\partial z}
        \frac{\partial z(\epsilon, \phi)}{\partial \phi}\Big]

    It leaves out the score, whose mean is zero: as q approaches the true posterior, the variance of
    the gradient goes to zero.

    Args:
        num_particles: draws of the latents for each observation.

    Source: Roeder, Wu and Duvenaud, "Sticking the landing" (2017).
    """

    def bound(self, model: Callable, guide: Callable, *data: Tensor) -> Tensor:
        return self.draws_and_weights(model, guide, *data)[1].mean(0)


class DReG(PathDerivative):
    r"""The importance-weighted bound, with doubly reparameterised gradients for the guide.

    .. math::
        \nabla_\phi L_K = E\Big[\sum_k \tilde w_k^2\, \frac{\partial \log w_k}{\partial z_k}
        \frac{\partial z_k}{\partial \phi}\Big], \qquad
        \nabla_\theta L_K = E\Big[\sum_k \tilde w_k\, \nabla_\theta \log w_k\Big], \qquad
        \tilde w_k = \frac{w_k}{\sum_j w_j}

    It is unbiased, and its signal does not fade as K grows, unlike the plain gradient of the guide.

    Args:
        num_particles: draws of the latents for each observation, K.

    Source: Tucker, Lawson, Gu and Maddison, "Doubly reparameterized gradient estimators for Monte
    Carlo objectives" (2019).
    """

    def __init__(self, num_particles: int = 5) -> None:
        super().__init__(num_particles)

    def bound(self, model: Callable, guide: Callable, *data: Tensor) -> Tensor:
        draws, log_w = self.draws_and_weights(model, guide, *data)
        log_w = without_negligible(log_w)
        weights = log_w.detach().softmax(0)
        for z in draws:
            if z.requires_grad:
                scale = weights.reshape(*weights.shape, *[1] * (z.dim() - weights.dim()))
                z.register_hook(lambda gradient, scale=scale: scale * gradient)
        surrogate = (weights * log_w).sum(0)  # has the right gradient, but another value
        value = log_w.detach().logsumexp(0) - math.log(self.num_particles)
        return value + surrogate - surrogate.detach()
