"""The variational autoencoder's generative half."""

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor, nn


class VAE(PyroModule):
    r"""p(x, z) = p(z) Bernoulli(x; decoder(z)), pixel by pixel.

    .. math::
        z \sim \mathrm{prior}, \qquad
        \log p(x \mid z) = \sum_d x_d \log \pi_d + (1 - x_d) \log(1 - \pi_d), \quad
        \pi = \sigma(\mathrm{decoder}(z))

    Sites ``z`` (code) and ``x`` (image), inside the plate ``data``.

    Shapes: z is (B, latent_dim), x is (B, C, H, W) with values 0 and 1; leading particle
    dimensions are legal.

    Args:
        prior: module whose ``forward()`` returns the distribution of a code.
        decoder: module from codes to the logits of pixels.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix C.1.
    """

    levels = 2  # of a pixel

    def __init__(self, prior: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.decoder = decoder

    def forward(self, x: Tensor | None = None, batch: int = 1) -> Tensor:
        """Images (B, C, H, W): ``x`` itself where given, else ``batch`` draws."""
        with pyro.plate("data", batch if x is None else len(x)):
            z = pyro.sample("z", self.prior())
            return pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(3), obs=x)
