"""Steps of the optimiser, of which none that is not finite changes a weight or a buffer."""

import torch
from pyro.infer import ELBO
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from inference.compilation.compiled import CompiledELBO
from inference.objectives.with_terms import ELBOWithTerms
from inference.programs.terms import Terms
from inference.system.processes import others_awaited, rank_and_size
from inference.training.settings import Settings

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Steps:
    r"""Steps of AdamW on an objective's loss.

    .. math:: \theta \leftarrow \mathrm{AdamW}\Big(\nabla_\theta \frac1B \sum_b L_\theta(x_b)\Big)

    Of several processes each calls it with images of its own, and all take the step of their mean gradient.

    Args:
        elbo: Pyro's estimator.
        model: the generative half.
        guide: the inference half.
        settings: of the training.
        device: to train on.
        num_steps: of the whole run.
        unused: whether the loss leaves parameters out.
    """

    def __init__(
        self,
        elbo: ELBO,
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
        self.compiles = settings.compiles(num_steps)  # full batches run as one graph
        self.eager = ELBOWithTerms(elbo, model, guide)
        self.module = CompiledELBO(self.eager).to(device)
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        state = self.module.state_dict(keep_vars=True)  # of what is saved, running statistics for example
        self._buffers = [value for value in state.values() if not isinstance(value, nn.Parameter)]
        self._scaler = torch.amp.GradScaler(device.type, enabled=settings.mixed_precision == "fp16")
        self._unused = unused
        self._joined: nn.Module | None = None  # by the first step, when what is resumed has been loaded

    def autocast(self) -> torch.autocast:
        """Within, programs run in the settings' precision."""
        half = _HALF.get(self.settings.mixed_precision)
        return torch.autocast(self.device.type, half, enabled=half is not None)

    def __call__(self, data: tuple[Tensor, ...], step: int, full: bool) -> tuple[Terms, Tensor, Tensor]:
        """Take a step; the terms, the loss, and 1 in place of a step that was not finite and so not taken, else 0.

        A step of fp16 is left out too if its gradients were scaled too far, which is no failure: the
        next ones are scaled less.

        Args:
            data: what model and guide are called with.
            step: how many steps of the run are done; what is annealed takes its share of all steps.
            full: whether the batch is a full one; the others are never compiled.
        """
        if self._joined is None:
            self._joined = self._with_other_processes()
        progress = step / self.num_steps
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr_at(progress)
        if hasattr(self.eager.elbo, "progress"):
            self.eager.elbo.progress = progress
        # in the very first step what initialises itself by the data does so
        self.module.enabled = self.compiles and full and step > 0
        self.optimizer.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self._buffers]
        with others_awaited():
            with self.autocast():
                loss, terms = self._joined(*data)
            loss, terms = _unhalved(loss), Terms(*map(_unhalved, terms))
            self._scaler.scale(loss).backward()
            left_out, broken = self._judged(loss.detach())
        self._step_unless(left_out)
        if left_out.device.type != "cpu" or left_out:
            for buffer, kept in zip(self._buffers, before, strict=True):
                buffer.copy_(torch.where(left_out.bool(), kept, buffer))
        return terms, loss.detach(), broken

    def _with_other_processes(self) -> nn.Module:
        if rank_and_size()[1] == 1:
            return self.module
        own = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(self.module, device_ids=own, find_unused_parameters=self._unused)

    def _judged(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Whether the step is to be left out, and whether it is broken: two numbers, 0 or 1."""
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
        """Whether gradients overflowed that had been scaled up, so that they are scaled less from now on."""
        before = self._scaler.scale(torch.ones_like(loss))
        if self._scaler.is_enabled():
            self._scaler.update()
        return (self._scaler.scale(torch.ones_like(loss)) < before) & (before > 1)

    def _step_unless(self, left_out: Tensor) -> None:
        if self.device.type == "cuda":  # no waiting for the answer; the kernel for Apple's GPUs would not heed it
            self.optimizer.found_inf = left_out  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not left_out:
            self.optimizer.step()


def _unhalved(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in _HALF.values() else tensor
