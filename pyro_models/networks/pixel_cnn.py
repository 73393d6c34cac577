"""A convolutional network over the pixels before each one."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from pyro_models.sizes import check_at_least, checked_shape


class PixelCNN(nn.Module):
    r"""A number for each pixel from the pixels within sight before it.

    The pixel at row i and column j sees those at (i', j') with

    .. math:: i - R \le i' < i,\ |j' - j| \le R \qquad \text{or} \qquad i' = i,\ j - R \le j' < j

    and, at its own place, the channels before its own.  There is no blind spot: one path looks at the
    rows above, another to the left, and each is causal because its input is shifted, not because weights are
    masked.  Their sum passes through residual blocks that act on each pixel alone,

    .. math::
        h_0 = \mathrm{above}(x) + \mathrm{left}(x), \qquad h_n = h_{n-1} + W_n\, \mathrm{ReLU}(V_n\,
        \mathrm{ReLU}(h_{n-1})), \qquad y = w^T \mathrm{ReLU}(h_N)

    Outputs start at zero.

    Shapes: x, values from 0 to 1, and y are (\*, C, H, W).

    Args:
        image_shape: (C, H, W).
        sight: R, in pixels.
        channels: number of features of each pixel.
        blocks: N, number of residual blocks.
        convolutions: how many pixels of the sight upwards come from a residual 2x3 convolution each; the others come
            from the first layer, all at once, which takes memory: give a wide sight convolutions.

    Raises:
        ValueError: if a number is out of its range.

    Source: van den Oord et al., "Conditional image generation with PixelCNN decoders" (2016), section 2.2, for
    the two paths; Salimans et al., "PixelCNN++" (2017), section 2.4, for the shifts.
    """

    def __init__(
        self, image_shape: Sequence[int], sight: int = 3, channels: int = 32, blocks: int = 2, convolutions: int = 0
    ) -> None:
        super().__init__()
        count, height, width = checked_shape(image_shape)
        check_at_least(1, sight=sight, channels=channels)
        check_at_least(0, blocks=blocks, convolutions=convolutions)
        if convolutions >= sight:
            raise ValueError(f"convolutions must be fewer than the pixels in sight, {sight}; got {convolutions}")
        self.image_shape = (count, height, width)
        self.sight = max(1, min(sight, max(height, width) - 1))  # there is no more to see
        self.first = max(1, self.sight - convolutions)
        self.above = nn.Linear(count * self.first * (2 * self.first + 1), channels, bias=False)
        self.higher = nn.ModuleList(nn.Conv2d(channels, channels, (2, 3)) for _ in range(convolutions))
        self.left = nn.Linear(count * self.sight, count * channels)
        self.earlier_channels = nn.Parameter(torch.randn(channels, count, count) / count**0.5) if count > 1 else None
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))
        self.out = nn.Linear(channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-3:] != self.image_shape:
            raise ValueError(f"this network takes images of shape {self.image_shape}; got {tuple(x.shape[-3:])}")
        h = self._first_layer((2 * x - 1).reshape(-1, *self.image_shape))  # so that zeros around it mean: no pixel
        for block in self.blocks:
            h = block(h)
        return self.out(relu(h)).reshape(x.shape)

    def _first_layer(self, x: Tensor) -> Tensor:
        """(B, C, H, W, channels), by products of the values in sight: of few channels faster than a convolution."""
        reach, columns = self.first, 2 * self.first + 1
        above = self.above(_windows(pad(x[:, :, :-1], (reach, reach, reach, 0)), reach, columns))
        for convolution in self.higher:
            shifted = pad(relu(above.movedim(-1, 1)), (1, 1, 1, 0))
            above = above + convolution(shifted).movedim(1, -1)
        left = self.left(_windows(pad(x[..., :-1], (self.sight, 0)), 1, self.sight))
        h = above[:, None] + left.unflatten(-1, (x.shape[1], -1)).movedim(-2, 1)
        if self.earlier_channels is None:
            return h
        return h + torch.einsum("bdhw,fdc->bchwf", x, self.earlier_channels.triu(1))


def _windows(x: Tensor, rows: int, columns: int) -> Tensor:
    """The values in each window of an image, (B, C, H + rows - 1, W + columns - 1) -> (B, H, W, C * rows * columns)."""
    height, width = x.shape[2] - rows + 1, x.shape[3] - columns + 1
    places = itertools.product(range(x.shape[1]), range(rows), range(columns))
    return torch.stack([x[:, c, i : i + height, j : j + width] for c, i, j in places], -1)


class _Block(nn.Module):
    """h + W ReLU(V ReLU(h)), for each pixel alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(relu(self.first(relu(h))))
