"""The guide of a model without latent variables."""

from pyro.nn import PyroModule
from torch import Tensor


class NoLatents(PyroModule):
    r"""q: nothing to draw, and nothing to learn.

    .. math:: \mathrm{ELBO} = \log p(x)

    The guide of a :class:`~pyro_models.models.DensityModel`, or of any model whose only site is
    observed: every bound on log p(x) is then log p(x) itself.

    Example:
        >>> import torch
        >>> from pyro.infer import Trace_ELBO
        >>> from pyro_models import DensityModel, NoLatents, vector_realnvp
        >>> model, x = DensityModel(vector_realnvp(2)), torch.randn(5, 2)
        >>> loss = Trace_ELBO().differentiable_loss(model, NoLatents(), x)
        >>> bool(torch.allclose(loss, -model.density().log_prob(x).sum()))
        True
    """

    def __init__(self) -> None:
        super().__init__()  # without the name that every PyroModule takes

    def forward(self, x: Tensor, labels: Tensor | None = None, *, batch: int = 1) -> None:
        """Draw nothing."""
