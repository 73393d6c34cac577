"""A prior with one normal distribution per class."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn


class ClassNormal(nn.Module):
    r"""p(z | label) = N(z; m_label, diag s_label^2), with learned means and scales.

    Shapes: the context is (B, K), one-hot labels; ``forward(context)`` returns a distribution of
    ``event_shape`` (latent_dim,) and ``batch_shape`` (B,).

    Args:
        latent_dim: size of the code.
        context: K, the number of classes.

    Raises:
        ValueError: if ``latent_dim`` or ``context`` is below 1: there is nothing to condition on.

    Source: Sohn, Lee and Yan, "Learning structured output representation using deep conditional
    generative models" (2015), section 4.

    Example:
        >>> import torch
        >>> from pyro_models import ClassNormal
        >>> labels = torch.tensor([0, 2, 2])
        >>> ClassNormal(4, context=3)(torch.eye(3)[labels]).sample().shape
        torch.Size([3, 4])
    """

    def __init__(self, latent_dim: int, context: int = 0) -> None:
        super().__init__()
        if latent_dim < 1 or context < 1:
            raise ValueError(
                f"latent_dim and the number of classes must be at least 1; got {latent_dim} and {context}: "
                "this prior is for conditional models, which --conditional or context=10 makes"
            )
        self.context = context
        self.loc = nn.Parameter(torch.randn(context, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(context, latent_dim))

    def forward(self, context: Tensor) -> dist.TorchDistribution:
        loc, log_scale = ((context[..., None] * table).sum(-2) for table in (self.loc, self.log_scale))
        return dist.Normal(loc, log_scale.exp()).to_event(1)  # a matrix product would be rounded under autocast
