"""The variational autoencoder's generative half."""

import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.checks import check_images, checked_distribution, checked_tensor
from pyro_models.labels import one_hot
from pyro_models.likelihoods import BernoulliPixels
from pyro_models.sizes import dtype_of


class VAE(PyroModule):
    r"""p(x, z) = p(z) p(x | z), with both factors conditioned on a label if there are classes.

    .. math:: z \sim \mathrm{prior}, \qquad x \sim \mathrm{likelihood}(\mathrm{decoder}(z))

    The decoder sees labels as one-hot vectors, and so does a prior that takes a context (one whose
    attribute ``context`` is above 0).

    Sites ``z`` (code) and ``x`` (image or vector), inside the plate ``data``.

    Shapes: z is (B, latent_dim), x is (B, C, H, W) with values from 0 to levels - 1, or (B, D) with a
    likelihood of vectors; labels are (B,); leading particle dimensions are legal.

    Args:
        prior: module whose ``forward()`` returns the distribution of a code.
        decoder: module from codes, and a context if there are classes, to the parameters of the likelihood.
        likelihood: module from these to a distribution over images or vectors; by default :class:`BernoulliPixels`.
        num_classes: number of classes of the labels; 0 for a model of images alone.

    Raises:
        ValueError: if labels are missing, unexpected or not below ``num_classes``, a pixel is not one of
            the levels, or a part takes or returns something of the wrong size.
        TypeError: if a part returns something of the wrong type.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix C.1; with labels,
    Sohn, Lee and Yan, "Learning structured output representation" (2015).

    Example:
        >>> from pyro.infer import Predictive
        >>> from pyro_models import VAE, MLPDecoder, StandardNormal
        >>> model = VAE(StandardNormal(2), MLPDecoder(2, (1, 8, 8)))
        >>> model(batch=5).shape
        torch.Size([5, 1, 8, 8])
        >>> {name: tuple(value.shape) for name, value in Predictive(model, num_samples=3)(batch=5).items()}
        {'z': (3, 5, 2), 'x': (3, 5, 1, 8, 8)}
    """

    def __init__(
        self, prior: nn.Module, decoder: nn.Module, likelihood: nn.Module | None = None, num_classes: int = 0
    ) -> None:
        super().__init__()
        context = getattr(prior, "context", 0)
        if context not in (0, num_classes):
            raise ValueError(
                f"{type(prior).__name__} takes a context of size {context}, but the model has num_classes = "
                f"{num_classes}: make the two equal, or the context 0"
            )
        self.prior = prior
        self.decoder = decoder
        self.likelihood = likelihood or BernoulliPixels()
        self.num_classes = num_classes

    @property
    def levels(self) -> int:
        """The number of values of a pixel; a likelihood of real numbers has none, and so neither has the model."""
        return self.likelihood.levels  # type: ignore[return-value]

    def code(self, labels: Tensor | None = None) -> dist.TorchDistribution:
        """p(z), or p(z | labels) if the prior takes a context."""
        context = one_hot(labels, self.num_classes, dtype_of(self.prior))
        found = self.prior(context) if getattr(self.prior, "context", 0) else self.prior()
        return checked_distribution(found, self.prior)

    def image(self, z: Tensor, labels: Tensor | None = None) -> dist.TorchDistribution:
        """p(x | z), of batch shape z.shape[:-1], with the decoder's output in the precision of the code."""
        context = one_hot(labels, self.num_classes, z.dtype)
        raw = checked_tensor(self.decoder(z) if context is None else self.decoder(z, context), self.decoder)
        found = checked_distribution(self.likelihood(raw.to(z.dtype)), self.likelihood)
        batch_dims = z.dim() - 1
        if len(found.batch_shape) < batch_dims and found.event_dim > raw.dim() - batch_dims:  # it took codes for pixels
            raise ValueError(
                f"{type(self.likelihood).__name__} makes events of {found.event_dim} dimensions, but for each code "
                f"{type(self.decoder).__name__} gives numbers of shape {tuple(raw.shape[batch_dims:])}: for vectors "
                "take GaussianVectors"
            )
        return found

    def log_joint(self, x: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x, z), of shape z.shape[:-1], in nats."""
        return self.code(labels).log_prob(z) + self.image(z, labels).log_prob(x)

    def forward(self, x: Tensor | None = None, labels: Tensor | None = None, *, batch: int = 1) -> Tensor:
        """Images (B, C, H, W): ``x`` if given, else ``batch`` draws, or one for each label."""
        given = x if x is not None else labels
        check_images(x, getattr(self.likelihood, "levels", None))
        with pyro.plate("data", batch if given is None else len(given)):
            z = pyro.sample("z", self.code(labels))
            return pyro.sample("x", self.image(z, labels), obs=x)
