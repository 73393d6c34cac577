"""A flow as a model of integer pixels."""

from typing import Any

import pyro
from pyro.distributions import TransformedDistribution
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.checks import check_images, checked_distribution
from pyro_models.distributions import Quantized
from pyro_models.labels import one_hot
from pyro_models.sizes import checked_levels, dtype_of


class FlowModel(PyroModule):
    r"""p(x, y): continuous intensities y from a flow, integer pixels x = floor(levels · y).

    .. math:: P(x) = \int_{[x,\, x+1) / \mathrm{levels}} p_{\mathrm{flow}}(y)\, dy

    An importance-weighted bound estimates this integral, with a dequantiser as the guide.

    With ``num_classes`` the model is p(x, y | label), with a conditional flow whose context is the
    one-hot label.

    Sites ``y`` (latent) and ``x`` (image), inside the plate ``data``.

    Shapes: x and y are (B, \*image_shape), x whole numbers from 0 to levels - 1 as floats; leading
    particle dimensions are legal.

    Args:
        flow: module whose ``forward()`` returns a distribution over intensities, or ``forward(context)``
            with a context (B, num_classes), such as a :class:`~pyro_models.flows.Flow`.
        levels: number of grey levels of a pixel, 256 for 8-bit images.
        num_classes: number of classes of the labels; 0 for a model of images alone.

    Raises:
        ValueError: if ``levels`` is below 2, or labels are missing, unexpected or not below ``num_classes``.

    Source: Theis, van den Oord and Bethge, "A note on the evaluation of generative models"
    (2016), section 3.1.

    Example:
        >>> from pyro_models import FlowModel, flip_realnvp
        >>> model = FlowModel(flip_realnvp((1, 4, 4), pairs=2), levels=256)
        >>> x = model(batch=5)
        >>> x.shape, bool((x == x.round()).all())
        (torch.Size([5, 1, 4, 4]), True)
    """

    def __init__(self, flow: nn.Module, levels: int, num_classes: int = 0) -> None:
        super().__init__()
        self.flow = flow
        self.levels = checked_levels(levels)
        self.num_classes = num_classes

    def intensities(self, labels: Tensor | None = None, **options: Any) -> TransformedDistribution:
        """p(y), or p(y | labels): the flow's distribution; ``options`` are passed to the flow."""
        context = one_hot(labels, self.num_classes, dtype_of(self.flow))
        found = self.flow(**options) if context is None else self.flow(context, **options)
        return checked_distribution(found, self.flow)

    def forward(self, x: Tensor | None = None, labels: Tensor | None = None, *, batch: int = 1) -> Tensor:
        """Images (B, *image_shape): ``x`` if given, else ``batch`` draws, or one for each label."""
        given = x if x is not None else labels
        check_images(x, self.levels)
        with pyro.plate("data", batch if given is None else len(given)):
            flow = self.intensities(labels)
            y = pyro.sample("y", flow)
            return pyro.sample("x", Quantized(y, self.levels, len(flow.event_shape)), obs=x)
