"""A variational autoencoder with two levels of latent variables."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_models.checks import check_images
from pyro_models.models.vae import VAE
from pyro_models.networks import MLP, scale_of


class TwoLevelVAE(VAE):
    r"""p(x, z1, z2) = p(z2) p(z1 | z2) p(x | z1), or p(x | z1, z2) with a skip connection.

    .. math::
        z_2 \sim \mathrm{prior}, \qquad z_1 \sim N(\mathrm{loc}(z_2), \mathrm{diag}\,\mathrm{scale}(z_2)^2),
        \qquad x \sim \mathrm{likelihood}(\mathrm{decoder}(z_1))

    Sites ``z2``, ``z1`` and ``x``, inside the plate ``data``.

    Shapes: z2 is (B, top_dim), z1 (B, latent_dim), x as for :class:`VAE`.

    Args:
        prior: module whose ``forward()`` returns the distribution of z2.
        decoder: module from z1 to the parameters of the likelihood; with ``skip``, from z1 and z2
            joined into one vector of size latent_dim + top_dim.
        latent_dim: size of z1.
        top_dim: size of z2; by default half of latent_dim.
        likelihood: as for :class:`VAE`.
        hidden: widths of the hidden layers between z2 and z1.
        num_classes: as for :class:`VAE`.
        skip: also pass z2 to the decoder.

    Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016), figure 1 and
    appendix C; with the skip connection, Tomczak and Welling, "VAE with a VampPrior" (2018).
    """

    def __init__(
        self,
        prior: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        top_dim: int | None = None,
        likelihood: nn.Module | None = None,
        hidden: Sequence[int] = (100, 100),
        num_classes: int = 0,
        skip: bool = False,
    ) -> None:
        super().__init__(prior, decoder, likelihood, num_classes)
        self.skip = skip
        self.down = MLP(top_dim or max(1, latent_dim // 2), (latent_dim, latent_dim), hidden, "Tanh")

    def log_joint(self, x: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
        raise TypeError("a TwoLevelVAE has two codes; log p(x, z) with only one of them has no closed form")

    def forward(self, x: Tensor | None = None, labels: Tensor | None = None, *, batch: int = 1) -> Tensor:
        given = x if x is not None else labels
        check_images(x, getattr(self.likelihood, "levels", None))
        with pyro.plate("data", batch if given is None else len(given)):
            z2 = pyro.sample("z2", self.code(labels))
            loc, raw = self.down(z2)
            z1 = pyro.sample("z1", dist.Normal(loc, scale_of(raw)).to_event(1))
            code = torch.cat([z1, z2], dim=-1) if self.skip else z1
            return pyro.sample("x", self.image(code, labels), obs=x)
