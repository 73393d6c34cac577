"""Log-densities of a step's draws, computed once although both the loss and its terms ask for them."""

from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Distribution


class DensitiesKept(Messenger):
    """Within, the distribution of a traced site computes the log-density of a value once.

    A flow runs all its networks for a density.  Asked again for that of the same tensor, the distribution
    repeats its answer, without a gradient where gradients are off.  On leaving, it computes again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keeping: list[Any] = []

    def _pyro_post_sample(self, msg: Any) -> None:
        fn: Any = msg["fn"]
        if isinstance(fn, Distribution) and "log_prob" not in vars(fn):
            fn.log_prob = _Kept(fn.log_prob)  # type: ignore[method-assign]
            self._keeping.append(fn)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        while self._keeping:
            del self._keeping.pop().log_prob


class _Kept:
    """A ``log_prob`` that repeats its last answer if it is asked about the same value again."""

    def __init__(self, log_prob: Any) -> None:
        self.log_prob = log_prob
        self.last: tuple[Tensor, int, bool, Tensor] | None = None

    def __call__(self, value: Any, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or not isinstance(value, Tensor) or value.is_inference():  # such a tensor has no version
            return self.log_prob(value, *args, **kwargs)
        with_gradient = torch.is_grad_enabled()
        if self.last is not None:
            known, version, had_gradient, density = self.last
            if known is value and version == value._version and (had_gradient or not with_gradient):
                return density if with_gradient else density.detach()
        density = self.log_prob(value)
        self.last = value, value._version, with_gradient, density
        return density
