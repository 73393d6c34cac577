"""Steps of the optimiser, of which none that is not finite changes a weight or a buffer."""

from typing import TYPE_CHECKING

import torch
from pyro.infer import ELBO
from torch import Tensor, distributed, nn

from inference.compiled import CompiledObjective
from inference.objective import Objective
from inference.settings import Settings
from inference.terms import Terms

if TYPE_CHECKING:
    from accelerate import Accelerator  # slow to import


class Steps:
    r"""Steps of AdamW on an objective's loss.

    .. math:: \theta \leftarrow \mathrm{AdamW}\Big(\nabla_\theta \frac1B \sum_b L_\theta(x_b)\Big)

    Args:
        elbo: Pyro's estimator.
        model: the generative half.
        guide: the inference half.
        settings: of the training.
        accelerator: which spreads it over processes and devices.
        num_steps: of the whole run.
    """

    def __init__(
        self,
        elbo: ELBO,
        model: nn.Module,
        guide: nn.Module,
        settings: Settings,
        accelerator: "Accelerator",
        num_steps: int,
    ) -> None:
        self.settings = settings
        self.num_steps = num_steps
        self.compiles = settings.compiles(num_steps)  # full batches run as one graph
        self.objective = Objective(elbo, model, guide)
        self.module = CompiledObjective(self.objective).to(accelerator.device)
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        state = self.module.state_dict(keep_vars=True)  # of what is saved, running statistics for example
        self._buffers = [value for value in state.values() if not isinstance(value, nn.Parameter)]
        self._accelerator = accelerator
        self._prepared: tuple | None = None  # by the first step, when what is resumed has been loaded

    def __call__(self, data: tuple[Tensor, ...], step: int, full: bool) -> tuple[Terms, Tensor, Tensor]:
        """Take a step; the terms, the loss, and 1 in place of a step that was not finite and so not taken, else 0.

        Args:
            data: what model and guide are called with.
            step: how many steps of the run are done; what is annealed takes its share of all steps.
            full: whether the batch is a full one; the others are never compiled.
        """
        if self._prepared is None:
            self._prepared = self._accelerator.prepare(self.module, self.optimizer)
        module, optimizer = self._prepared
        progress = step / self.num_steps
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr_at(progress)
        if hasattr(self.objective.elbo, "progress"):
            self.objective.elbo.progress = progress
        # in the very first step what initialises itself by the data does so
        self.module.enabled = self.compiles and full and step > 0
        optimizer.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self._buffers]
        loss, terms = module(*data)
        self._accelerator.backward(loss)
        broken = self._broken(loss.detach())
        optimizer.step()
        if broken.device.type != "cpu" or broken:
            for buffer, kept in zip(self._buffers, before, strict=True):
                buffer.copy_(torch.where(broken.bool(), kept, buffer))
        return terms, loss.detach(), broken

    def _broken(self, loss: Tensor) -> Tensor:
        if self.settings.mixed_precision == "fp16":  # gradients are scaled, and accelerate leaves such steps out itself
            if self.settings.clip_norm is not None:
                self._accelerator.clip_grad_norm_(self.module.parameters(), self.settings.clip_norm)
            return torch.zeros_like(loss)
        if self.settings.clip_norm is None:
            gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
        else:
            norm = self._accelerator.clip_grad_norm_(self.module.parameters(), self.settings.clip_norm)
        broken = (~torch.isfinite(loss + norm)).float()
        if self._accelerator.num_processes > 1:
            distributed.all_reduce(broken, distributed.ReduceOp.MAX)
        self.optimizer.found_inf = broken  # type: ignore[attr-defined]  # a fused optimiser leaves the step out
        return broken
