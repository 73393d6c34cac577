"""Uniform dequantisation as a guide."""

import pyro
from pyro.nn import PyroModule
from torch import Tensor

from pyro_models.distributions import UniformCell
from pyro_models.sizes import checked_levels


class UniformDequantizer(PyroModule):
    r"""q(y | x): y = (x + u) / levels, with u uniform on the unit cube.

    .. math:: \log q(y \mid x) = D \log \mathrm{levels}

    The guide of a :class:`~pyro_models.models.FlowModel`; it has no parameters.

    Site ``y``, inside the plate ``data``.

    Shapes: x, whole numbers from 0 to levels - 1, and y are (B, \*image_shape); labels are ignored.

    Args:
        levels: number of grey levels of a pixel.

    Raises:
        ValueError: if ``levels`` is below 2.

    Source: Uria, Murray and Larochelle, "RNADE" (2013), section 5.1; as a bound, Theis, van den
    Oord and Bethge (2016), section 3.1.

    Example:
        >>> import torch
        >>> from pyro import poutine
        >>> from pyro_models import UniformDequantizer
        >>> x = torch.tensor([[3.0, 255.0]])
        >>> y = poutine.trace(UniformDequantizer(256)).get_trace(x).nodes["y"]["value"]
        >>> (256 * y).floor()
        tensor([[  3., 255.]])
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = checked_levels(levels)

    def forward(self, x: Tensor, labels: Tensor | None = None, *, batch: int = 1) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("y", UniformCell(x, self.levels, x.dim() - 1))
