"""A flow as a model of integer pixels."""

import pyro
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.distributions import Quantized


class FlowModel(PyroModule):
    r"""p(x, y): continuous intensities y from a flow, integer pixels x = floor(levels · y).

    .. math:: P(x) = \int_{[x,\, x+1) / \mathrm{levels}} p_{\mathrm{flow}}(y)\, dy

    The integral is what an importance-weighted bound estimates, with a dequantiser as its guide.

    Sites ``y`` (latent) and ``x`` (image), inside the plate ``data``.

    Shapes: x and y are (B, \*image_shape), x whole numbers from 0 to levels - 1 as floats; leading
    particle dimensions are legal.

    Args:
        flow: module whose ``forward()`` returns a distribution over intensities.
        levels: number of grey levels of a pixel, 256 for 8-bit images.

    Raises:
        ValueError: if ``levels`` is below 2.

    Source: Theis, van den Oord and Bethge, "A note on the evaluation of generative models"
    (2016), section 3.1.
    """

    def __init__(self, flow: nn.Module, levels: int) -> None:
        super().__init__()
        if levels < 2 or int(levels) != levels:
            raise ValueError(f"levels must be a whole number of at least 2; got {levels}")
        self.flow = flow
        self.levels = levels

    def forward(self, x: Tensor | None = None, batch: int = 1) -> Tensor:
        """Images (B, *image_shape): ``x`` itself where given, else ``batch`` draws."""
        with pyro.plate("data", batch if x is None else len(x)):
            flow = self.flow()
            y = pyro.sample("y", flow)
            return pyro.sample("x", Quantized(y, self.levels, len(flow.event_shape)), obs=x)
