"""A likelihood in which each pixel sees its neighbours."""

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor, nn

from pyro_models.distributions import AutoregressiveBernoulli
from pyro_models.likelihoods.pixels import checked_raw
from pyro_models.networks import PixelCNN


class PixelCNNPixels(nn.Module):
    r"""Binary pixels, each given the code and, by a convolutional network, its neighbours above and to the left.

    .. math::
        \log p(x \mid z) = \sum_d \log \mathrm{Bernoulli}\big(x_d;\ \sigma(\mathrm{raw}_d(z) + h_d(x_{<d}))\big)

    with h from :class:`~pyro_models.networks.PixelCNN`, which starts at zero, so that the likelihood starts as
    :class:`BernoulliPixels`.  The code enters only through raw, from the decoder: h(x) is computed once for an
    image, however many codes are weighed.

    With a sight of a few pixels, h can model strokes and their edges but not what an image is of, which is left to
    the code.  The more it sees, the less the code is needed, see :class:`AutoregressivePixels`.

    The mean of an image given its code has no closed form: in figures a reconstruction, or the image of a code, is a
    draw.

    Shapes: raw is (\*, C, H, W); the distribution has ``event_shape`` (C, H, W).

    Args:
        image_shape: (C, H, W).
        sight: how many rows up, and columns to either side, a pixel sees; of its own row only what is to its left.
        channels: number of features of each pixel in the network.
        blocks: number of its residual blocks, each of two layers that act on every pixel alone.
        convolutions: how many pixels of the sight, but not all, come from a residual 2x3 convolution each; the others
            come from the first layer, all at once, which takes memory: give a wide sight convolutions.

    Raises:
        ValueError: if a number is out of its range, or the decoder's output or an image has another shape.

    Source: van den Oord et al., "Conditional image generation with PixelCNN decoders" (2016), section 2.4; the
    sight, Chen et al., "Variational lossy autoencoder" (2017), section 3.1.

    Example:
        >>> import torch
        >>> from pyro_models import PixelCNNPixels
        >>> p = PixelCNNPixels((1, 8, 8), sight=2)(torch.zeros(5, 1, 8, 8))
        >>> x = p.sample()
        >>> x.shape, p.log_prob(x).shape
        (torch.Size([5, 1, 8, 8]), torch.Size([5]))
    """

    levels = 2
    per_pixel = 1

    def __init__(
        self, image_shape: Sequence[int], sight: int = 3, channels: int = 32, blocks: int = 2, convolutions: int = 0
    ) -> None:
        super().__init__()
        self.net = PixelCNN(image_shape, sight, channels, blocks, convolutions)

    def logit_shift(self, x: Tensor) -> Tensor:
        """h(x), what the neighbours of each pixel add to its logit, (\\*, C, H, W)."""
        return self.net(x).to(x.dtype)

    def forward(self, raw: Tensor) -> dist.TorchDistribution:
        if checked_raw(raw, self).shape[-3:] != self.net.image_shape:
            raise ValueError(
                f"PixelCNNPixels was made for images of shape {self.net.image_shape}, but the decoder gives "
                f"{tuple(raw.shape[-3:])}"
            )
        return AutoregressiveBernoulli(raw, self.logit_shift)
