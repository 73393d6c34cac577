"""A chain of transforms of a standard normal, as a module that returns a distribution."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Transform
from torch.distributions.utils import _sum_rightmost as sum_rightmost

from pyro_models.transforms.bijector import inverse_and_log_det


class FlowDistribution(dist.TransformedDistribution):
    r"""A ``TransformedDistribution`` that passes through each transform once.

    .. math::
        \log p(y) = \log p_0(f^{-1}(y)) + \log |\det J_{f^{-1}}(y)|

    Values and shapes are those of the parent class, which computes inverse and log-determinant in
    two passes.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) in nats; (\\*) for a value of shape (\\*, event_shape)."""
        if self._validate_args:
            self._validate_sample(value)
        epsilon, log_det = self.to_base(value)
        return self.base_dist.log_prob(epsilon) + log_det

    def to_base(self, value: Tensor) -> tuple[Tensor, Tensor]:
        r"""The noise behind a value, (\*, base event), and the log-determinant of that map, (\*)."""
        event_dim = len(self.event_shape)
        log_det = torch.zeros((), dtype=value.dtype, device=value.device)
        for transform in reversed(self.transforms):
            value, step = inverse_and_log_det(transform, value)
            log_det = log_det + sum_rightmost(step, event_dim - transform.codomain.event_dim)
            event_dim += transform.domain.event_dim - transform.codomain.event_dim
        return value, log_det

    def from_base(self, epsilon: Tensor) -> Tensor:
        """The value that noise of shape (*, base event) becomes, (*, event_shape)."""
        for transform in self.transforms:
            epsilon = transform(epsilon)
        return epsilon


class Flow(nn.Module):
    r"""A normalising flow: ``forward()`` is the distribution of :math:`f_n(\ldots f_1(\epsilon))`.

    :math:`\epsilon \sim N(0, I)` in D dimensions.  A flow over images is thus used like a prior
    over codes.

    Shapes: the distribution's ``event_shape`` is what the transforms make of (D,).

    Args:
        transforms: from the base to the data, in order; those that are modules are registered.
        size: D, the size of the base.

    Raises:
        ValueError: if there is no transform, or D is below 1.

    Source: Rezende and Mohamed, "Variational inference with normalizing flows" (2015).
    """

    base_loc: Tensor
    base_scale: Tensor

    def __init__(self, transforms: Sequence[Transform], size: int) -> None:
        super().__init__()
        if not transforms:
            raise ValueError("a flow needs at least one transform")
        if size < 1:
            raise ValueError(f"the size of the base must be at least 1; got {size}")
        self.transforms = list(transforms)
        self.registered = nn.ModuleList(t for t in transforms if isinstance(t, nn.Module))
        self.register_buffer("base_loc", torch.zeros(size), persistent=False)
        self.register_buffer("base_scale", torch.ones(size), persistent=False)

    def forward(self) -> FlowDistribution:
        base = dist.Normal(self.base_loc, self.base_scale).to_event(1)
        return FlowDistribution(base, self.transforms)
