"""Some places of a dimension."""

from typing import Literal

from torch import Tensor, nn


class Places(nn.Module):
    """The places at which a mask is true: a slice where they are evenly spaced, otherwise indices.

    Args:
        mask: booleans (D,), one of them true at least.
    """

    indices: Tensor | None

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        found = mask.nonzero().flatten()
        steps = found.diff().unique().tolist() or [1]
        self.slice = slice(int(found[0]), int(found[-1]) + 1, steps[0])
        self.register_buffer("indices", found if len(steps) > 1 else None, persistent=False)

    def take(self, values: Tensor, dim: Literal[-1, -2] = -1) -> Tensor:
        """The values at these places of the last dimension, or of the last but one."""
        if self.indices is not None:
            return values.index_select(dim, self.indices)
        # contiguous, since a product and its gradients would each make a copy otherwise
        return values[..., self.slice].contiguous() if dim == -1 else values[..., self.slice, :]

    def put(self, values: Tensor, size: int) -> Tensor:
        """A last dimension of this size with the values at these places, and zeros at the others."""
        zeros = values.new_zeros(*values.shape[:-1], size)
        if self.indices is not None:
            return zeros.index_copy(-1, self.indices, values)
        return zeros.slice_scatter(values, -1, self.slice.start, self.slice.stop, self.slice.step)
