"""A flow as a model of continuous data."""

from typing import Any

import pyro
from pyro.distributions import TransformedDistribution
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.checks import checked_distribution
from pyro_models.labels import one_hot
from pyro_models.sizes import dtype_of


class DensityModel(PyroModule):
    r"""p(x): the density of continuous data is a flow's own, without latent variables.

    .. math:: x \sim \mathrm{flow}, \qquad \text{or } x \sim \mathrm{flow}(\text{one-hot label})

    With ``num_classes`` the model is p(x | label), with a conditional flow whose context is the
    one-hot label.  Its guide is :class:`~pyro_models.guides.NoLatents`.

    Site ``x``, inside the plate ``data``.

    Shapes: x is (B, \*event_shape) of the flow's distribution; leading particle dimensions are legal.

    Args:
        flow: module whose ``forward()`` returns a distribution over data, or ``forward(context)`` with a
            context (B, num_classes), such as :func:`~pyro_models.flows.vector_realnvp`.
        num_classes: number of classes of the labels; 0 for a model of data alone.

    Raises:
        ValueError: if x has another shape than the flow's events, or labels are missing, unexpected or
            not below ``num_classes``.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017), section 3.1.

    Example:
        >>> from pyro_models import DensityModel, vector_realnvp
        >>> model = DensityModel(vector_realnvp(2))
        >>> x = model(batch=5)
        >>> x.shape, model.density().log_prob(x).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    def __init__(self, flow: nn.Module, num_classes: int = 0) -> None:
        super().__init__()
        self.flow = flow
        self.num_classes = num_classes

    def density(self, labels: Tensor | None = None, **options: Any) -> TransformedDistribution:
        """p(x), or p(x | labels): the flow's distribution; ``options`` are passed to the flow."""
        context = one_hot(labels, self.num_classes, dtype_of(self.flow))
        found = self.flow(**options) if context is None else self.flow(context, **options)
        return checked_distribution(found, self.flow)

    def forward(self, x: Tensor | None = None, labels: Tensor | None = None, *, batch: int = 1) -> Tensor:
        """Data (B, *event_shape): ``x`` if given, else ``batch`` draws, or one for each label."""
        given = x if x is not None else labels
        density = self.density(labels)
        if x is not None and x.shape[1:] != density.event_shape:
            raise ValueError(
                f"this flow is over data of shape {tuple(density.event_shape)}; got x of shape {tuple(x.shape)}"
            )
        with pyro.plate("data", batch if given is None else len(given)):
            return pyro.sample("x", density, obs=x)
