"""The convolutional network of RealNVP's image couplings."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


def channels_last(x: Tensor) -> Tensor:
    """The same images (N, C, H, W), with the channels of each pixel next to one another in memory.

    oneDNN, which computes convolutions on CPUs, needs half the time for few channels in this layout; on other
    devices x stays as it is.  ``x.contiguous(memory_format=torch.channels_last)`` does not suffice: it leaves
    the strides of a single channel as they are, and a convolution takes those for the default layout.
    """
    if x.device.type != "cpu":
        return x
    pixels = x[:, 0].contiguous().unsqueeze(-1) if x.shape[1] == 1 else x.permute(0, 2, 3, 1).contiguous()
    return pixels.permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """x + conv1x1(ReLU(conv3x3(ReLU(conv1x1(x))))), convolutions weight-normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            weight_norm(nn.Conv2d(channels, channels, 1)),
            nn.ReLU(inplace=True),
            weight_norm(nn.Conv2d(channels, channels, 3, padding=1)),
            nn.ReLU(inplace=True),
            weight_norm(nn.Conv2d(channels, channels, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).add_(x)


class Residual(nn.Module):
    """x + conv3x3(ELU(conv3x3(ELU(x)))), the second convolution starting at zero: the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, padding=1)
        first = nn.Conv2d(channels, channels, 3, padding=1)
        self.net = nn.Sequential(nn.ELU(), first, nn.ELU(inplace=True), last)
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).add_(x)


class ResNet(nn.Module):
    r"""3x3 convolution, residual blocks, ReLU, 3x3 convolution; all weight-normalised.

    Shapes: x is (\*, in_channels, H, W), y is (\*, out_channels, H, W).

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        channels: number of channels of the hidden layers.
        blocks: number of residual blocks.
        zero_init: start with all outputs at zero.

    Raises:
        ValueError: if a number is below 1.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    section 4.1; He et al. (2016); Salimans and Kingma, "Weight normalization" (2016).
    """

    def __init__(
        self, in_channels: int, out_channels: int, channels: int = 128, blocks: int = 4, zero_init: bool = False
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, channels, blocks) < 1:
            raise ValueError(
                f"channels and blocks must be at least 1; got {in_channels} in, {out_channels} out, "
                f"{channels} hidden and {blocks} blocks"
            )
        last = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.net = nn.Sequential(
            weight_norm(nn.Conv2d(in_channels, channels, 3, padding=1)),
            nn.ReLU(inplace=True),
            *(ResidualBlock(channels) for _ in range(blocks)),
            nn.ReLU(inplace=True),
            weight_norm(last),
        )
        if zero_init:
            parameters = dict(last.named_parameters())
            nn.init.zeros_(parameters["parametrizations.weight.original0"])  # the norms
            nn.init.zeros_(parameters["bias"])

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(channels_last(x.reshape(-1, *x.shape[-3:]))).contiguous()
        return y.reshape(*x.shape[:-3], *y.shape[-3:])


class ScaleAndShift(nn.Module):
    r"""Split a network's output into a coupling's (log scale, shift).

    .. math:: s = a \tanh(\mathrm{raw}) + c

    with learned scalars a and c.  The coupling starts without scaling: c starts at zero, and so does a or the output
    of the network.  Not both: each would have no gradient while the other is zero, and they would stay there.

    Shapes: the network returns (\*, 2 C, H, W); s and t are (\*, C, H, W).

    Args:
        network: the network.
        amplitude: where a starts; 1 for a network that starts with all outputs at zero.
    """

    def __init__(self, network: nn.Module, amplitude: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.amplitude = nn.Parameter(torch.tensor(amplitude))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(x).chunk(2, dim=-3)
        return self.amplitude * torch.tanh(raw) + self.offset, shift
