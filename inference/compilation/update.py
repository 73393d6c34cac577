"""A whole step of training as one compiled graph: loss, gradient, clipping, check and AdamW."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from inference.compilation.compiled import annealed_number, guesses_plates, loss_and_gradients
from inference.compilation.fallback import Compiler
from inference.compilation.make_up import is_hooked
from inference.objectives.with_terms import ELBOWithTerms
from inference.programs.terms import Terms


class Taken(NamedTuple):
    """What a step computed, and 1 if it was not finite and so changed nothing, else 0."""

    terms: Terms
    loss: Tensor
    broken: Tensor


class CompiledUpdate:
    r"""AdamW whose every step is a single call of one graph; a loss or gradient that is not finite changes nothing.

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        \theta \leftarrow (1 - \eta\lambda)\, \theta - \frac{\eta}{1 - \beta_1^t}
        \frac{m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    The moments and counts stay where the optimiser holds them, so steps with and without the graph may
    alternate, and a checkpoint is the same either way.  What a graph can follow is said at
    :class:`~inference.compilation.compiled.CompiledELBO`.

    Args:
        eager: the objective; its module is in training mode.
        optimizer: AdamW over the parameters of ``eager``, in one group.  It has taken steps, with all of the
            parameters that the loss depends on.
        clip_norm: largest norm of the gradient, if any.
        buffers: also left as they were if the loss or the gradient is not finite.
        backend: of ``torch.compile``.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.
    """

    def __init__(
        self,
        eager: ELBOWithTerms,
        optimizer: torch.optim.AdamW,
        clip_norm: float | None,
        buffers: list[Tensor],
        backend: str = "inductor",
    ) -> None:
        self._held = _Held(eager, optimizer, clip_norm, buffers)
        self._compiler = Compiler("training runs", self._held, _update, backend, attempts=2)

    def settle(self) -> None:
        """See :meth:`~inference.compilation.fallback.Compiler.settle`."""
        self._compiler.settle()

    @property
    def counts_differ(self) -> bool:
        """Whether some parameters have taken fewer steps than others, as where a short batch left some out."""
        return len(set(self._held.counts.tolist())) > 1

    def __call__(self, *data: Tensor) -> Taken | None:
        """Take a step at the learning rate of the optimiser's group; None if no graph serves, and nothing was done."""
        elbo = self._held.eager.elbo
        if guesses_plates(elbo):
            return None
        tensors = (self._held.scalars(), annealed_number(elbo, data[0]), *data)
        graph = self._compiler.graph_for(*tensors)
        if graph is None:
            return None
        loss, kl, reconstruction, broken = graph(*tensors)
        if not broken:
            self._held.counts.add_(1)
        return Taken(Terms(kl, reconstruction), loss, broken)


def can_update(module: nn.Module, optimizer: torch.optim.AdamW) -> bool:
    """Whether a graph can take the optimiser's steps: all parameters have taken as many, and none has a hook."""
    counts = {float(state["step"]) for state in optimizer.state.values()}
    return len(counts) == 1 and not any(map(is_hooked, module.parameters()))


class _Held(nn.Module):
    """The objective and, as buffers, the moments that the optimiser holds, to which the graph writes."""

    def __init__(
        self, eager: ELBOWithTerms, optimizer: torch.optim.AdamW, clip_norm: float | None, buffers: list[Tensor]
    ) -> None:
        super().__init__()
        self.eager = eager
        self.clip_norm = clip_norm
        self.group = optimizer.param_groups[0]
        kept = {id(buffer) for buffer in buffers}
        self.kept = {f"eager.{name}": buffer for name, buffer in eager.named_buffers() if id(buffer) in kept}
        self.stepped = [name for name, parameter in eager.named_parameters() if parameter in optimizer.state]
        states = [optimizer.state[parameter] for parameter in eager.parameters() if parameter in optimizer.state]
        self.counts = torch.stack([state["step"] for state in states])
        for i, state in enumerate(states):
            state["step"] = self.counts[i]  # a view, so that both count alike
            self.register_buffer(f"mean_{i}", state["exp_avg"])
            self.register_buffer(f"square_{i}", state["exp_avg_sq"])
        self._dtype = max((p.dtype for p in eager.parameters()), key=lambda dtype: dtype.itemsize)

    def scalars(self) -> Tensor:
        """What changes from step to step: 1 - lr decay, lr sqrt(b2) / b1 and eps sqrt(b2), with b = 1 - beta^t."""
        count = float(self.counts[0]) + 1
        (beta1, beta2), lr = self.group["betas"], self.group["lr"]
        root = math.sqrt(1 - beta2**count)
        numbers = 1 - lr * self.group["weight_decay"], lr * root / (1 - beta1**count), self.group["eps"] * root
        return torch.tensor(numbers, dtype=self._dtype, device=self.counts.device)


@torch.no_grad()
def _update(held: _Held, scalars: Tensor, annealed: Tensor, *data: Tensor) -> tuple[Tensor, ...]:
    """Loss, terms, and 1 if the step is not finite, else 0; writes to parameters, moments and buffers."""
    parameters, buffers = dict(held.eager.named_parameters()), dict(held.named_buffers())
    # a buffer that is still itself, and no stand-in, is a constant of the graph
    before = {name: buffers[name].clone() for name, real in held.kept.items() if buffers[name] is not real}
    loss, kl, reconstruction, found = loss_and_gradients(held.eager, annealed, *data)
    gradients = {name: grad for name, grad in zip(parameters, found, strict=True) if grad is not None}
    if list(gradients) != held.stepped:
        raise RuntimeError("the loss depends on other parameters than in the steps before")
    norm = torch.stack([gradient.square().sum().to(scalars) for gradient in gradients.values()]).sum().sqrt()
    finite = torch.isfinite(loss) & torch.isfinite(norm)
    factor = 1.0 if held.clip_norm is None else (held.clip_norm / (norm + 1e-6)).clamp(max=1.0)
    for i, (name, gradient) in enumerate(gradients.items()):
        state = (parameters[name].detach(), buffers[f"mean_{i}"], buffers[f"square_{i}"])
        after = _stepped(*state, gradient * factor, held.group["betas"], scalars.to(gradient.dtype))
        for tensor, value in zip(state, after, strict=True):
            tensor.copy_(torch.where(finite, value, tensor))
    for name, value in before.items():
        buffers[name].copy_(torch.where(finite, buffers[name], value))
    return loss, kl, reconstruction, (~finite).float()


def _stepped(
    parameter: Tensor, mean: Tensor, square: Tensor, gradient: Tensor, betas: tuple[float, float], scalars: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Parameter and moments after a step.  The numbers of the step come from outside: a graph would repeat them."""
    decay, rate, epsilon = scalars.unbind()
    mean = mean + (1 - betas[0]) * (gradient - mean)
    square = betas[1] * square + (1 - betas[1]) * gradient * gradient
    return decay * parameter - rate * mean / (square.sqrt() + epsilon), mean, square
