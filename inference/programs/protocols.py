r"""What this package asks of your programs, data, likelihoods and objectives beyond calling them.

A model and a guide are callables with Pyro sample sites, called as ``program(x)``, or ``program(x, labels)`` if
``data.conditional``.  A guide draws the latents of its model; if there are none, it draws nothing.  Only this is
required, and of data what :class:`~inference.data.protocol.DataSet` lists.  Every attribute below is optional, one
protocol each: it says what the attribute means, when it is read, and what happens without it.  Nothing needs to
inherit from a protocol.

Programs run with one draw of the latents, (B, \*event), and with many at once, (S, B, \*event): they index from the
right, ``z[..., 0]``.  Metrics and bounds leave out ``poutine.scale``, which only weighs sites in Pyro's own losses.

Attributes of Pyro and PyTorch themselves (``has_rsample``, ``support``, ``vectorize_particles``, ...) keep their
meaning there and are not listed.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class KnowsLevels(Protocol):
    """A model or guide for pixels of so many values: 2 for binary pixels, 256 for 8-bit images.

    Read before fitting, measuring and evaluating, to refuse images with other pixels, and data that are no images.
    Without it any data are accepted, and only the support of the observed site is checked.
    """

    @property
    def levels(self) -> int: ...


@runtime_checkable
class HasLevels(Protocol):
    """A data set of pixels with values from 0 to ``levels - 1``, or 0 and 1 if ``binarisation`` is not "none".

    Read together with the ``levels`` of a model and a guide.  Data without it are real numbers, and refused by a model
    of pixels.
    """

    @property
    def levels(self) -> int: ...

    @property
    def binarisation(self) -> str: ...


@runtime_checkable
class KnowsClasses(Protocol):
    """A model or guide that takes labels from 0 to ``num_classes - 1``, or none if this is 0.

    Read together with ``levels``, to refuse data with labels (or without), or with more classes, and to check
    the labels passed to ``log_weights``.  Without it labels go to the programs unchecked.
    """

    @property
    def num_classes(self) -> int: ...


@runtime_checkable
class HasRandomDensity(Protocol):
    """A guide whose density q(z | x) is itself random if ``random_density`` is true, for example a semi-amortised one.

    Read by ``STL`` and ``DReG`` at every step; they refuse such a guide, because evaluating the density again at the
    same z would give another value.  Without it the density counts as fixed.
    """

    @property
    def random_density(self) -> bool: ...


@runtime_checkable
class KnowsNumbersPerPixel(Protocol):
    """A likelihood whose distribution takes ``per_pixel`` numbers for each pixel: 1 for a logit, 2 for loc and scale.

    Read by the command line, which makes the decoder with so many outputs for each pixel, and by
    ``collapse_threshold``, which needs it to be 1.  Both refuse a likelihood without it.
    """

    @property
    def per_pixel(self) -> int: ...


@runtime_checkable
class HasDifferentiableLoss(Protocol):
    """An objective with Pyro's method ``differentiable_loss``: the loss of a batch, as a tensor with gradients.

    Called at every step.  An objective without it is refused: Pyro's own ``RenyiELBO``, for example.
    """

    def differentiable_loss(self, model: Callable, guide: Callable, *data: Tensor) -> Tensor: ...


@runtime_checkable
class FollowsProgress(Protocol):
    """An objective that changes during training: it may read ``progress``, the fraction of all steps already taken.

    Set before every step to a number from 0 up to, but not including, 1.  In a compiled step it is a tensor, the one
    number that changes between steps.  Without it nothing is set, and the objective stays the same.
    """

    progress: float


@runtime_checkable
class Anneals(Protocol):
    """An objective whose ``annealed()`` computes the one number that changes, from ``progress`` or otherwise.

    A compiled step calls it before every step, and passes the result to the graph as a tensor that the objective's own
    calls of ``annealed()`` then return.  It may therefore branch on ``progress``, which a graph cannot.  Without it,
    a compiled step passes ``progress`` itself.
    """

    def annealed(self) -> float | Tensor: ...
