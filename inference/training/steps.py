"""Optimiser steps that skip non-finite updates."""

from functools import cached_property

import torch
from pyro.infer import ELBO
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from inference.compilation.compiled import CompiledELBO
from inference.compilation.update import CompiledUpdate, Taken, can_update
from inference.objectives.with_terms import ELBOWithTerms
from inference.programs.terms import Terms
from inference.system.processes import others_awaited, rank_and_size
from inference.training.settings import Settings

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Steps:
    r"""Steps of AdamW on an objective's loss; a step that is not finite changes no weight and no buffer.

    .. math:: \theta \leftarrow \mathrm{AdamW}\Big(\nabla_\theta \frac1B \sum_b L_\theta(x_b)\Big)

    If there are several processes, each calls it with its own data, and all take the step of the mean gradient.

    Args:
        objective: Pyro's estimator of the ELBO.
        model: the generative half.
        guide: the inference half.
        settings: of the training.
        device: to train on.
        num_steps: in the whole run.
        unused: whether the loss leaves parameters out.
    """

    def __init__(
        self,
        objective: ELBO,
        model: nn.Module,
        guide: nn.Module,
        settings: Settings,
        device: torch.device,
        num_steps: int,
        unused: bool = False,
    ) -> None:
        self.settings = settings
        self.device = device
        self.num_steps = num_steps
        self.compiles = settings.compiles(num_steps, model, guide)  # full batches run as one graph
        self.eager = ELBOWithTerms(objective, model, guide)
        self.module = CompiledELBO(self.eager).to(device)
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        state = self.module.state_dict(keep_vars=True)  # what is saved, such as running statistics
        self._buffers = [value for value in state.values() if not isinstance(value, nn.Parameter)]
        self._scaler = torch.amp.GradScaler(device.type, enabled=settings.mixed_precision == "fp16")
        self._unused = unused
        # both are made after a checkpoint was loaded
        self._update: CompiledUpdate | None = None
        self._joined: nn.Module | None = None

    def autocast(self) -> torch.autocast:
        """The precision of the settings, as a context for programs to run in."""
        half = _HALF.get(self.settings.mixed_precision)
        return torch.autocast(self.device.type, half, enabled=half is not None)

    def __call__(self, data: tuple[Tensor, ...], step: int, full: bool) -> Taken:
        """Take a step.

        With fp16 a step is also left out if its gradients were scaled too far.  That is no failure: the
        next ones are scaled less.

        Args:
            data: arguments of model and guide.
            step: number of steps taken before; with the number of all steps it gives the ``progress``
                of an objective that anneals, see :class:`~inference.programs.protocols.FollowsProgress`.
            full: whether the batch is full; other batches are never compiled.
        """
        progress = step / self.num_steps
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr_at(progress)
        if hasattr(self.eager.elbo, "progress"):
            self.eager.elbo.progress = progress
        # in the very first step, parts initialise themselves from the data, and the optimiser its moments
        compiles = self.compiles and full and step > 0 and bool(self.optimizer.state)
        if self._update is not None and self._update.counts_differ:
            self._at_once = False  # from now on a graph only computes the gradient
            self._update = None
        at_once = compiles and self._at_once
        taken = self._taken_at_once(data, step) if at_once else None
        if step > 1:  # a resumed run records at once the graph that it had
            self.module.settle()
        return taken or self._taken(data, compiles and not at_once)

    @cached_property
    def _at_once(self) -> bool:
        """Whether a graph also updates the weights; asked once there are moments."""
        return self.device.type == "cpu" and rank_and_size()[1] == 1 and can_update(self.eager, self.optimizer)

    def _taken_at_once(self, data: tuple[Tensor, ...], step: int) -> Taken | None:
        """The step from one graph, if there is one."""
        if self._update is None:
            self.optimizer.zero_grad(set_to_none=True)  # their memory serves the graph
            self._update = CompiledUpdate(self.eager, self.optimizer, self.settings.clip_norm, self._buffers)
        if step > 1:
            self._update.settle()
        with self.autocast():
            taken = self._update(*data)
        return taken and Taken(Terms(*map(_to_float32, taken.terms)), _to_float32(taken.loss), taken.broken)

    def _taken(self, data: tuple[Tensor, ...], compiles: bool) -> Taken:
        """The step by the optimiser; a graph may compute the gradient."""
        if self._joined is None:
            self._joined = self._with_other_processes()
        self.module.enabled = compiles
        self.optimizer.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self._buffers]
        with others_awaited():
            with self.autocast():
                loss, terms = self._joined(*data)
            loss, terms = _to_float32(loss), Terms(*map(_to_float32, terms))
            self._scaler.scale(loss).backward()
            left_out, broken = self._judge(loss.detach())
        self._step_unless(left_out)
        if left_out.device.type != "cpu" or left_out:
            for buffer, kept in zip(self._buffers, before, strict=True):
                buffer.copy_(torch.where(left_out.bool(), kept, buffer))
        return Taken(terms, loss.detach(), broken)

    def _with_other_processes(self) -> nn.Module:
        if rank_and_size()[1] == 1:
            return self.module
        own = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(self.module, device_ids=own, find_unused_parameters=self._unused)

    def _judge(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Whether to leave the step out, and whether it is broken: two numbers, 0 or 1."""
        self._scaler.unscale_(self.optimizer)
        if self.settings.clip_norm is None:
            gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
        else:
            norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.clip_norm)
        left_out = ~torch.isfinite(loss + norm)
        broken = left_out & ~(torch.isfinite(loss) & self._scaled_too_far(loss))
        answer = torch.stack([left_out, broken]).float()
        if rank_and_size()[1] > 1:
            distributed.all_reduce(answer, distributed.ReduceOp.MAX)
        return answer[0], answer[1]

    def _scaled_too_far(self, loss: Tensor) -> Tensor:
        """Whether gradients overflowed because they were scaled up, so that they are scaled less from now on."""
        before = self._scaler.scale(torch.ones_like(loss))
        if self._scaler.is_enabled():
            self._scaler.update()
        return (self._scaler.scale(torch.ones_like(loss)) < before) & (before > 1)

    def _step_unless(self, left_out: Tensor) -> None:
        if self.device.type == "cuda":  # without waiting for the answer; the kernel for Apple's GPUs ignores it
            self.optimizer.found_inf = left_out  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not left_out:
            self.optimizer.step()


def _to_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in _HALF.values() else tensor
