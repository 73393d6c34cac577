"""Convolutional networks with a context."""

import torch
from torch import Tensor, nn


class WithContext(nn.Module):
    r"""Concatenate a context to the input of a network: ``network(cat([x, context]))``.

    Shapes: x is (\*, C, H, W) and the context (B, K, H, W); the context is
    broadcast over leading dimensions that it lacks.

    Args:
        network: a network that takes C + K channels.
        everywhere: whether the context is one vector (B, K) per image, repeated at every pixel.
    """

    def __init__(self, network: nn.Module, everywhere: bool = False) -> None:
        super().__init__()
        self.network = network
        self.everywhere = everywhere

    def forward(self, x: Tensor, context: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.everywhere:
            context = context[..., None, None].expand(*context.shape, *x.shape[-2:])
        batch = torch.broadcast_shapes(x.shape[:-3], context.shape[:-3])
        return self.network(torch.cat([part.expand(*batch, *part.shape[-3:]) for part in (x, context)], dim=-3))
