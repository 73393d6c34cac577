"""The output of a convolutional network as the numbers of a mixture coupling."""

import torch
from torch import Tensor, nn

from pyro_models.sizes import check_at_least


class ScaleShiftAndMixture(nn.Module):
    r"""Split a network's output into what a :class:`~pyro_models.transforms.LogisticMixtureCoupling` takes.

    .. math:: s = a \tanh(\mathrm{raw}) + c

    with learned scalars a and c, as for :class:`~pyro_models.networks.resnet.ScaleAndShift`.

    Shapes: the network returns (\*, (2 + 3 K) C, H, W); s and t are (\*, C, H, W), the logits, locations and raw log
    scales of the components (\*, K C, H, W).

    Args:
        network: the network.
        components: their number K.
        amplitude: where a starts; 1 for a network that starts with all outputs at zero.
    """

    def __init__(self, network: nn.Module, components: int, amplitude: float = 0.0) -> None:
        super().__init__()
        check_at_least(1, components=components)
        self.network = network
        self.components = components
        self.amplitude = nn.Parameter(torch.tensor(amplitude))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = self.network(x)
        size = found.shape[-3] // (2 + 3 * self.components)
        raw, *rest = found.split([size] * 2 + [self.components * size] * 3, dim=-3)
        return self.amplitude * torch.tanh(raw) + self.offset, *rest
