"""Finds losses and gradients that are not finite, and the site or parameter that they come from."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.objectives.with_terms import ELBOWithTerms
from inference.programs.buffers import buffers_as_they_were
from inference.programs.terms import Terms, site_log_prob
from inference.system.switches import validating
from inference.training.kept_terms import KeptTerms

Data = tuple[Tensor, ...]


class _Step(NamedTuple):
    number: int
    data: Data
    draws: Tensor  # state of the random number generator before it
    terms: Terms
    loss: Tensor
    broken: Tensor


class NonFiniteCheck:
    """Checks the steps of an epoch, several at a time, and keeps the terms of the finite ones.

    Args:
        eager: the loss, without compilation.
        epoch: its name in messages.
        terms: of steps that this epoch has taken before.
        skip: pass over steps that are not finite; otherwise they raise.
        every: how many steps to check at once: on a GPU each check waits for the device.
        autocast: makes the context that the steps run in, for example of another precision.
    """

    def __init__(
        self,
        eager: ELBOWithTerms,
        epoch: str,
        terms: list[Terms],
        skip: bool,
        every: int,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.eager = eager
        self.epoch = epoch
        self.terms = KeptTerms(terms)
        self.skip = skip
        self.every = every
        self.autocast = autocast
        self.skipped = 0
        self._steps: list[_Step] = []

    def add(self, step: int, data: Data, draws: Tensor, terms: Terms, loss: Tensor, broken: Tensor) -> None:
        """Note a step, which was taken if ``broken``, one number, is 0.

        Raises:
            FloatingPointError: as :meth:`run`.
        """
        self._steps.append(_Step(step, data, draws, terms, loss.detach(), broken))
        if len(self._steps) >= self.every:
            self.run()

    def run(self) -> None:
        """Check the steps noted since the last check.

        Raises:
            FloatingPointError: if one was not finite, unless such steps are skipped.
        """
        steps, self._steps = self._steps, []
        for step in steps:
            if not step.broken:
                self.terms.append(step.terms)
            elif self.skip:
                self.skipped += 1
            else:
                with self.autocast():
                    where = where_it_broke(self.eager, step.data, step.draws)
                raise FloatingPointError(
                    f"the loss is {float(step.loss):.5g} at step {step.number + 1} of {self.epoch}: {where}; "
                    "try a lower lr, or clip_norm 10"
                )

    def finish(self) -> list[Terms]:
        """Check the last steps; returns the terms of the whole epoch.

        Raises:
            FloatingPointError: as :meth:`run`, and if no step was finite.
        """
        self.run()
        if not self.terms.latest:
            raise FloatingPointError(f"no step of {self.epoch} had a finite loss and gradient")
        if self.skipped:
            warnings.warn(f"{self.epoch}: {self.skipped} steps were not finite, and skipped", stacklevel=3)
        return self.terms.all()


def where_it_broke(eager: ELBOWithTerms, data: Data, draws: Tensor) -> str:
    """The first site, or else the first parameter, at which a loss or its gradient stops being finite.

    Args:
        eager: the loss, without compilation.
        data: the batch.
        draws: state of the random number generator before the step, to repeat it.
    """
    sites: list[str] = []
    model, guide = _Sites("model", sites), _Sites("guide", sites)
    repeated = ELBOWithTerms(eager.elbo, model(eager.model), guide(eager.guide))
    parameters = dict(eager.named_parameters())
    with torch.random.fork_rng(), validating(False), torch.enable_grad(), buffers_as_they_were(eager):
        torch.set_rng_state(draws)
        loss, _ = repeated(*data)
        if sites:
            return sites[0]
        trained = {name: value for name, value in parameters.items() if value.requires_grad}
        gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    for name, gradient in zip(trained, gradients, strict=True):
        if gradient is not None and not torch.isfinite(gradient).all():
            return f"every site is finite, but not the gradient of {name}"
    norm = nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None])
    return "a second pass does not show where" if torch.isfinite(norm) else "the gradient is too large to be squared"


class _Sites(Messenger):
    """Describes the sites of a program whose value or log-density is not finite."""

    def __init__(self, half: str, found: list[str]) -> None:
        super().__init__()
        self.half = half
        self.found = found

    def _pyro_post_sample(self, message: Any) -> None:
        if site_is_subsample(message):
            return
        site = {"unscaled_log_prob": None, "mask": None, **message}
        for what, tensor in (("value", site["value"]), ("log-density", site_log_prob(dict(site)))):
            broken = ~torch.isfinite(tensor)
            if broken.any():
                self.found.append(
                    f"the {what} of site {site['name']!r} in the {self.half} is {float(tensor.detach()[broken][0])} "
                    f"at {int(broken.sum())} of {broken.numel()} places"
                )
                return
