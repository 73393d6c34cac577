"""Annealed importance sampling from the prior to the posterior by Hamiltonian Monte Carlo: another road to log p(x).

Source: Neal, "Annealed importance sampling" (2001); for decoders, Wu, Burda, Salakhutdinov and Grosse, "On the
quantitative analysis of decoder-based generative models" (2017).
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor


def annealed_log_evidence(
    log_joint: Callable[[Tensor], Tensor], z: Tensor, steps: int = 200, leaps: int = 8
) -> tuple[Tensor, Tensor]:
    """Estimates of log p(x), (B,), and their standard errors.

    Args:
        log_joint: log p(x, z), (chains, B), of codes (chains, B, D) whose prior is N(0, I).
        z: draws of the prior, (chains, B, D).
        steps: temperatures.
        leaps: leapfrog steps at each.
    """
    log_w, size = torch.zeros(z.shape[:-1]), torch.full((z.shape[1], 1), 0.2)
    temperatures = torch.sigmoid(torch.linspace(-5, 5, steps + 1))
    temperatures = ((temperatures - temperatures[0]) / (temperatures[-1] - temperatures[0])).tolist()
    for before, now in pairwise(temperatures):
        log_w += (now - before) * (log_joint(z) - normal(z))

        def target(z: Tensor, now: float = now) -> Tensor:
            return now * log_joint(z) + (1 - now) * normal(z)

        def gradient(z: Tensor) -> Tensor:
            z = z.detach().requires_grad_()
            return torch.autograd.grad(target(z).sum(), z)[0]

        momentum = torch.randn_like(z)
        end, pushed = z, momentum
        for leap in range(leaps):
            pushed = pushed + size * gradient(end) * (0.5 if leap == 0 else 1)
            end = end + size * pushed
        pushed = pushed + size * gradient(end) / 2
        change = target(end) + normal(pushed) - target(z) - normal(momentum)
        accepted = torch.rand_like(change).log() < change
        z = torch.where(accepted[..., None], end, z).detach()
        size = size * torch.where(accepted.double().mean(0) > 0.7, 1.03, 0.95)[:, None]
    weights = (log_w - log_w.amax(0)).exp()
    error = weights.std(0) / weights.mean(0) / len(z) ** 0.5
    return weights.mean(0).log() + log_w.amax(0), error


def normal(z: Tensor) -> Tensor:
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
