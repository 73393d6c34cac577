"""Likelihoods whose pixels are independent given the code.

A likelihood is a module with ``levels``, the number of values of a pixel, and ``per_pixel``, the
number of parameters it takes per pixel.  Its ``forward`` maps these parameters, (\\*, C, H, W) or, with
several per pixel, (\\*, C, H, W, P), to a distribution with ``event_shape`` (C, H, W).
"""

import pyro.distributions as dist
from torch import Tensor, nn

from pyro_models.distributions import BernoulliImage, DiscretizedLogistic, PixelCategorical
from pyro_models.sizes import checked_levels


class BernoulliPixels(nn.Module):
    r"""Binary pixels, from their logits.

    .. math:: \log p(x) = \sum_d x_d \log \pi_d + (1 - x_d) \log(1 - \pi_d), \qquad \pi = \sigma(\mathrm{raw})

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), appendix C.1.

    Example:
        >>> import torch
        >>> from pyro_models import BernoulliPixels
        >>> BernoulliPixels()(torch.zeros(5, 1, 8, 8)).mean.unique()
        tensor([0.5000])
    """

    levels = 2
    per_pixel = 1

    def forward(self, raw: Tensor) -> dist.TorchDistribution:
        return BernoulliImage(checked_raw(raw, self))


class CategoricalPixels(nn.Module):
    r"""Integer pixels, with a logit for each level.

    .. math:: \log p(x) = \sum_d \log \mathrm{softmax}(\mathrm{raw}_d)_{x_d}

    Args:
        levels: number of grey levels.

    Raises:
        ValueError: if ``levels`` is below 2.

    Source: van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks" (2016),
    section 3.3.

    Example:
        >>> import torch
        >>> from pyro_models import CategoricalPixels, MLPDecoder
        >>> likelihood = CategoricalPixels(levels=17)
        >>> decoder = MLPDecoder(2, (1, 8, 8), per_pixel=likelihood.per_pixel)
        >>> likelihood(decoder(torch.zeros(5, 2))).sample().shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = self.per_pixel = checked_levels(levels)

    def forward(self, raw: Tensor) -> dist.TorchDistribution:
        return PixelCategorical(logits=checked_raw(raw, self)).to_event(3)


class LogisticPixels(nn.Module):
    r"""Integer pixels, with the probabilities that a logistic distribution assigns to their cells.

    The first parameter is the location, as a fraction of the full intensity measured from its middle,
    the second the log scale; see :class:`~pyro_models.distributions.DiscretizedLogistic`.

    Args:
        levels: number of grey levels.

    Raises:
        ValueError: if ``levels`` is below 2.

    Source: Kingma et al., "Improving variational inference with inverse autoregressive flow"
    (2016), appendix C; Salimans et al., "PixelCNN++" (2017), section 2.1.

    Example:
        >>> import torch
        >>> from pyro_models import LogisticPixels
        >>> p = LogisticPixels(levels=3)(torch.zeros(1, 1, 1, 2))
        >>> p.log_prob(torch.arange(3.0).reshape(3, 1, 1, 1)).exp()
        tensor([0.2259, 0.5482, 0.2259])
    """

    per_pixel = 2

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = checked_levels(levels)

    def forward(self, raw: Tensor) -> dist.TorchDistribution:
        loc, log_scale = checked_raw(raw, self).unbind(-1)
        return DiscretizedLogistic(loc + 0.5, (log_scale - 2.0).clamp(-7.0, 7.0).exp(), self.levels).to_event(3)


def checked_raw(raw: Tensor, likelihood: nn.Module) -> Tensor:
    """A decoder's output, which must hold as many numbers per pixel as the likelihood takes.

    Raises:
        ValueError: if it does not.
    """
    count = likelihood.per_pixel
    last = () if count == 1 else (count,)
    too_few = raw.dim() < 3 + len(last)
    if too_few or raw.shape[raw.dim() - len(last) :] != last:
        cure = "images need (C, H, W), vectors GaussianVectors" if too_few else f"make it with per_pixel={count}"
        raise ValueError(
            f"{type(likelihood).__name__} takes {count} number{'s' if last else ''} for each pixel, "
            f"(*, {', '.join(map(str, ('C', 'H', 'W', *last)))}), but the decoder gives {tuple(raw.shape)}: {cure}"
        )
    return raw
