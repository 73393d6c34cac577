"""What a module is made of, so that a graph of it can be seen to be out of date."""

from typing import Any

from torch import Tensor, nn


class MakeUp:
    """The modules and parameters within a module, their modes, and the layout of buffers, as they are now.

    Args:
        module: the module.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parts = list(module.modules())
        self._now = self._state()

    def changed(self) -> bool:
        """Whether modules or parameters were replaced, or anything has another mode or layout."""
        return self._state() != self._now

    def _state(self) -> list[Any]:
        state: list[Any] = []
        for part in self._parts:
            state.append(part.training)
            state += map(id, part._modules.values())
            for parameter in part._parameters.values():
                if parameter is not None:
                    state += (id(parameter), parameter.requires_grad, is_hooked(parameter))
                    state += (parameter.dtype, parameter.shape, parameter.stride())
            for buffer in part._buffers.values():
                if buffer is not None:
                    state += (buffer.dtype, buffer.shape, buffer.stride())
        return state


def is_hooked(parameter: Tensor) -> bool:
    """Whether a user's hook sees or changes the gradient of a parameter."""
    return bool(parameter._backward_hooks or parameter._post_accumulate_grad_hooks)
