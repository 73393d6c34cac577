"""A network that also sees a context."""

import torch
from torch import Tensor, nn


class WithContext(nn.Module):
    r"""Join a context to the input of a network: ``network(cat([x, context]))``.

    Shapes: x is (\*, C, H, W) and the context (B, K, H, W) with ``dim=-3``, or (\*, D) and (B, K) with
    ``dim=-1``; leading dimensions of x that the context lacks are filled by repeating it.

    Args:
        network: takes C + K channels, or D + K features.
        dim: along which the two are joined, from the right.
        everywhere: the context is one vector (B, K) for a whole image, repeated at every pixel.
    """

    def __init__(self, network: nn.Module, dim: int = -3, everywhere: bool = False) -> None:
        super().__init__()
        self.network = network
        self.dim = dim
        self.everywhere = everywhere

    def forward(self, x: Tensor, context: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.everywhere:
            context = context[..., None, None].expand(*context.shape, *x.shape[-2:])
        batch = torch.broadcast_shapes(x.shape[: self.dim], context.shape[: self.dim])
        parts = [part.expand(*batch, *part.shape[self.dim :]) for part in (x, context)]
        return self.network(torch.cat(parts, dim=self.dim))
