"""What a model is shown must be what it could draw."""

from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_models.distributions.quantization import check_pixels


def check_shown(x: Tensor | None, levels: int | None) -> None:
    """Make sure that images, if any, are of whole numbers from 0 to levels - 1, as far as Pyro's validation is on.

    Raises:
        ValueError: if not: the number that a density gives them means nothing.
    """
    if x is not None and levels is not None and is_validation_enabled():
        check_pixels(x, levels)
