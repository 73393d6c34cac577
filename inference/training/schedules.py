"""Learning-rate schedules: functions from progress in [0, 1] to a factor in [0, 1]."""

import math


def constant(progress: float) -> float:
    """1 throughout."""
    return 1.0


def cosine(progress: float) -> float:
    r"""Half a cosine: :math:`\frac12 (1 + \cos \pi t)` (Loshchilov and Hutter, 2017, equation 5)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle(progress: float, warm_up: float = 0.1, start: float = 0.04) -> float:
    r"""Up from ``start`` over the first tenth, then down to zero, both along half a cosine.

    Source: Smith and Topin, "Super-convergence" (2018), in the two-phase form.
    """
    if progress < warm_up:
        return 1 - (1 - start) * cosine(progress / warm_up)
    return cosine((progress - warm_up) / (1 - warm_up))


SCHEDULES = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}
