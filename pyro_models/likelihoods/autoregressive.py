"""A likelihood in which each pixel depends on earlier ones."""

import math
import warnings
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_models.distributions import AutoregressiveBernoulli
from pyro_models.masks import guard_masks
from pyro_models.sizes import check_at_least, checked_shape
from pyro_models.zuko_import import import_zuko


class AutoregressivePixels(nn.Module):
    r"""Binary pixels, each given the code and the pixels before it in raster order.

    .. math::
        \log p(x \mid z) = \sum_d \log \mathrm{Bernoulli}\big(x_d;\
        \sigma(\mathrm{raw}_d(z) + h_d(x_{d - \mathrm{sight}}, \ldots, x_{d-1}))\big)

    Such a likelihood can model images without a code, so that the code is easily ignored: with
    unlimited sight an uninformative code costs nothing in the bound on log p(x).

    Shapes: raw is (\*, C, H, W), and the distribution's ``event_shape`` is (C, H, W).

    Args:
        image_shape: (C, H, W).
        sight: number of preceding pixels that a pixel depends on; by default all of them.
        hidden: widths of the hidden layers of h, at least as wide as the number of pixels; with none
            it is affine.

    Raises:
        ValueError: if a number is out of its range.

    Source: Germain et al., "MADE: masked autoencoder for distribution estimation" (2015); beside a
    code, Chen et al., "Variational lossy autoencoder" (2017), section 3.1.
    """

    levels = 2
    per_pixel = 1

    def __init__(
        self,
        image_shape: Sequence[int],
        sight: int | None = None,
        hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        size = math.prod(checked_shape(image_shape))
        check_at_least(1, sight=sight)
        if size < 2:
            raise ValueError("an image of one pixel has no earlier ones: use BernoulliPixels")
        if any(width < size for width in hidden):
            raise ValueError(f"hidden layers must be at least as wide as the image, {size}; got {list(hidden)}")
        self.image_shape = tuple(image_shape)
        pixel = torch.arange(size)
        distance = pixel[:, None] - pixel
        seen = (distance > 0) & (distance <= (size if sight is None else sight))
        self.net = import_zuko().nn.MaskedMLP(seen, hidden, nn.ELU)
        guard_masks(self.net)

    def logit_shift(self, x: Tensor) -> Tensor:
        """h(x), what the pixels before each one add to its logit, (\\*, C, H, W)."""
        return self.net((2 * x - 1).flatten(-3)).unflatten(-1, self.image_shape).to(x.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """Deprecated: the old name of :meth:`logit_shift`."""
        warnings.warn("AutoregressivePixels.logits is deprecated: use logit_shift", DeprecationWarning, stacklevel=2)
        return self.logit_shift(x)

    def forward(self, raw: Tensor) -> dist.TorchDistribution:
        return AutoregressiveBernoulli(raw, self.logit_shift)
