"""A chain of transforms of a standard normal, as a module that returns a distribution."""

import math
from collections.abc import Callable, Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Transform
from torch.distributions.utils import _sum_rightmost as sum_rightmost

from pyro_models.transforms.bijector import condition, forward_and_log_det, inverse_and_log_det, modules_of


class FlowDistribution(dist.TransformedDistribution):
    r"""A ``TransformedDistribution`` that passes through each transform once.

    .. math::
        \log p(y) = \log p_0(f^{-1}(y)) + \log |\det J_{f^{-1}}(y)|
                  = \log p_0(\epsilon) - \log |\det J_f(\epsilon)|, \qquad y = f(\epsilon)

    Values and shapes are those of the parent class, which computes inverse and log-determinant in
    two passes.  The density of the last draw is computed from its noise, without inverting anything:
    this is exact where an inverse would lose digits, and costs a guide nothing.  Its gradient is the
    one along the draw; for the gradient with respect to a value, or after the parameters have
    changed, make a new distribution.
    """

    _drawn: tuple[Tensor, int, bool, Tensor] | None = None

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        epsilon = self.base_dist.rsample(torch.Size(sample_shape))
        value, log_det = self.from_base_with_log_det(epsilon)
        log_prob = self.base_dist.log_prob(epsilon) - log_det
        if not value.is_inference():  # such a tensor has no version counter
            self._drawn = value, value._version, torch.is_grad_enabled(), log_prob
        return value

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""log p(value) in nats; (\*) for a value of shape (\*, event_shape)."""
        if self._drawn is not None:
            drawn, version, had_grad, log_prob = self._drawn
            changed = value.is_leaf and value.requires_grad  # made a leaf since it was drawn
            if (
                value is drawn
                and not changed
                and value._version == version
                and (had_grad or not torch.is_grad_enabled())
            ):
                return log_prob
        if self._validate_args:
            self._validate_sample(value)
        epsilon, log_det = self.to_base(value)
        return self.base_dist.log_prob(epsilon) + log_det

    def to_base(self, value: Tensor) -> tuple[Tensor, Tensor]:
        r"""The noise behind a value, (\*, base event), and the log-determinant of that map, (\*)."""
        return self._chain(value, self.event_shape, self.transforms[::-1], inverse_and_log_det)

    def from_base(self, epsilon: Tensor) -> Tensor:
        """The value that noise of shape (*, base event) is mapped to, (*, event_shape)."""
        return self.from_base_with_log_det(epsilon)[0]

    def from_base_with_log_det(self, epsilon: Tensor) -> tuple[Tensor, Tensor]:
        r"""The value that noise is mapped to, and the log-determinant of that map, (\*)."""
        return self._chain(epsilon, self.base_dist.event_shape, self.transforms, forward_and_log_det)

    def _chain(
        self, x: Tensor, event_shape: torch.Size, transforms: Sequence[Transform], step: Callable
    ) -> tuple[Tensor, Tensor]:
        """Each transform in turn; log-determinants summed over all dimensions of an event."""
        batch = torch.broadcast_shapes(x.shape[: x.dim() - len(event_shape)], self.batch_shape)
        batch_dims = len(batch)
        x = x.expand(*batch, *event_shape)
        log_det = x.new_zeros(batch)
        for transform in transforms:
            x, part = step(transform, x)
            log_det = log_det + sum_rightmost(part, part.dim() - batch_dims)
        return x, log_det


class NormalFlow(nn.Module):
    """What all flows share: the standard normal that they transform, and the context of a conditional one.

    Args:
        size: D, the size of the base.
        context: K, the size of the context; 0 for none.

    Raises:
        ValueError: if D is below 1, or a context is missing, unexpected or of another size.
    """

    base_loc: Tensor
    base_scale: Tensor

    def __init__(self, size: int, context: int = 0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"the size of the base must be at least 1; got {size}")
        if context < 0:
            raise ValueError(f"the size of the context must be at least 0 (0 for none); got {context}")
        self.context = context
        self.register_buffer("base_loc", torch.zeros(size), persistent=False)
        self.register_buffer("base_scale", torch.ones(size), persistent=False)

    def transforms_given(self, context: Tensor | None) -> list[Transform]:
        """The transforms from base to data, conditioned on a context if there is one."""
        raise NotImplementedError

    def forward(self, context: Tensor | None = None, temperature: float = 1.0) -> FlowDistribution:
        """The distribution, conditioned on the context of a conditional flow.

        Args:
            context: the condition c.
            temperature: standard deviation of the base; below 1, draws stay in likely regions
                (Kingma and Dhariwal, "Glow", 2018, section 6).
        """
        size = 0 if context is None else context.shape[-1]
        if size != self.context:
            raise ValueError(f"this flow takes a context of size {self.context}; got one of size {size}")
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be a positive number; got {temperature}")
        base = dist.Normal(self.base_loc, self.base_scale * temperature).to_event(1)
        if context is not None:
            base = base.expand(context.shape[:-1])
        return FlowDistribution(base, self.transforms_given(context))


class Flow(NormalFlow):
    r"""A normalising flow: ``forward()`` is the distribution of :math:`f_n(\ldots f_1(\epsilon))`.

    :math:`\epsilon \sim N(0, I)` in D dimensions.  A flow over images is thus used just like a prior
    over codes.  In a conditional flow, such as one of images of a given class, the networks also see
    a context c: ``forward(c)`` is the distribution conditioned on c.

    Shapes: the distribution's ``event_shape`` is the shape to which the transforms map (D,); with a
    context c of shape (B, K) the ``batch_shape`` is (B,).

    Args:
        transforms: from the base to the data, in order; modules among them are registered.
        size: D, the size of the base.
        context: K, the size of the context; 0 for none.

    Raises:
        ValueError: if there is no transform, the first one does not take vectors, D is below 1, or a context is
            missing, unexpected or of another size.

    Source: Rezende and Mohamed, "Variational inference with normalizing flows" (2015).
    """

    def __init__(self, transforms: Sequence[Transform], size: int, context: int = 0) -> None:
        super().__init__(size, context)
        if not transforms:
            raise ValueError("a flow needs at least one transform")
        dimensions = transforms[0].domain.event_dim
        if dimensions > 1:
            raise ValueError(
                f"the first transform takes events of {dimensions} dimensions, but the base is a vector of {size}: "
                f"begin with ReshapeTransform(torch.Size([{size}]), ...) of torch.distributions.transforms"
            )
        self.transforms = list(transforms)
        self.registered = modules_of(transforms)

    def transforms_given(self, context: Tensor | None) -> list[Transform]:
        return self.transforms if context is None else [condition(t, context) for t in self.transforms]
