"""Base class of the guides of a VAE: an encoder, a head, a site and a plate."""

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.checks import checked_tensor
from pyro_models.labels import one_hot
from pyro_models.sizes import check_at_least, features_of


class AmortizedGuide(PyroModule):
    r"""q(z | x): a distribution over codes whose parameters a network computes from the image.

    A subclass sets the number of parameters of its distribution and implements :meth:`posterior`;
    the parameters are an affine map of the encoder's features.

    Site ``z``, inside the plate ``data``.

    Shapes: x is (B, C, H, W), or (B, D) for vectors, labels (B,), z (B, latent_dim).

    Args:
        encoder: module that maps images, and a context if there are classes, to (B, ``out_features``).
        latent_dim: size of the code.
        num_parameters: of the distribution.
        num_classes: number of classes; the encoder sees labels as one-hot vectors; 0 for none.

    Raises:
        ValueError: if ``latent_dim`` is below 1.
        TypeError: if the encoder has no ``out_features``.
    """

    def __init__(self, encoder: nn.Module, latent_dim: int, num_parameters: int, num_classes: int = 0) -> None:
        super().__init__()
        check_at_least(1, latent_dim=latent_dim)
        self.encoder = encoder
        self.latent_dim = latent_dim
        self.num_classes = num_classes
        self.head = nn.Linear(features_of(encoder), num_parameters)

    def features(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The encoder's output for images, and their labels if there are classes, in the images' precision."""
        context = one_hot(labels, self.num_classes, x.dtype)
        found = self.encoder(x) if context is None else self.encoder(x, context)
        return checked_tensor(found, self.encoder, size=self.head.in_features).to(x.dtype)

    def numbers(self, features: Tensor) -> Tensor:
        """The head's output, in the precision of the features even under autocast."""
        return self.head(features).to(features.dtype)

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> dist.TorchDistribution:
        """q(z | x), a distribution of batch shape (B,)."""
        raise NotImplementedError

    def forward(self, x: Tensor, labels: Tensor | None = None, *, batch: int = 1) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x, labels))
