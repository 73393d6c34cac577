"""Integer pixels and the continuous intensities behind them."""

import math

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

Shape = torch.Size | list[int] | tuple[int, ...]


def _inside(y: Tensor, x: Tensor, levels: int, event_dim: int) -> Tensor:
    """Whether all intensities of an image lie in the cells of its pixels, up to rounding."""
    off_centre = (levels * y - x - 0.5).abs()
    return (off_centre <= 0.5 + _margin(levels, y.dtype)).flatten(-event_dim).all(-1)


def _margin(levels: int, dtype: torch.dtype) -> float:
    """How far rounding can move ``levels * y``, in units of one level."""
    return 2 * levels * torch.finfo(dtype).eps


def _if_inside(inside: Tensor, log_density: float, dtype: torch.dtype) -> Tensor:
    return torch.full_like(inside, log_density, dtype=dtype).masked_fill(~inside, -math.inf)


def _whole(x: Tensor, levels: int) -> Tensor:
    """Which pixels are whole numbers from 0 to levels - 1."""
    return (x == x.round()) & (x >= 0) & (x < levels)


def check_pixels(x: Tensor, levels: int) -> None:
    """Check that all pixels are whole numbers from 0 to levels - 1.

    Raises:
        ValueError: if not.
    """
    bad = x[~_whole(x, levels)]
    if len(bad):
        raise ValueError(
            f"pixels must be whole numbers from 0 to {levels - 1}, for images with {levels} levels; "
            f"{len(bad)} of {x.numel()} are not, such as {bad[0].item():g}{': binarise them' if levels == 2 else ''}"
        )


class Quantized(dist.TorchDistribution):
    r"""The integer pixels x = floor(levels · y): a point mass, given the intensities y.

    .. math:: \log p(x \mid y) = 0 \text{ if } x \le \mathrm{levels} \cdot y \le x + 1, \text{ else } -\infty

    It is also -∞ at any x that is not made of levels, which validation rejects.

    The cells are closed and widened by the rounding error of y's dtype, so that rounding never moves
    an intensity out of the cell it was drawn in.

    Shapes: y is (\*, event); x is (\*, event), whole numbers from 0 to levels - 1 as floats.

    Args:
        y: intensities; those outside [0, 1] give the nearest level.
        levels: number of grey levels.
        event_dim: number of dimensions of one image.
    """

    arg_constraints = {"y": constraints.real}

    def __init__(self, y: Tensor, levels: int, event_dim: int, validate_args: bool | None = None) -> None:
        self.y = y
        self.levels = levels
        split = y.dim() - event_dim
        super().__init__(y.shape[:split], y.shape[split:], validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(0, self.levels - 1), len(self.event_shape))

    def expand(self, batch_shape: Shape, _instance: None = None) -> "Quantized":
        y = self.y.expand(torch.Size(batch_shape) + self.event_shape)
        return Quantized(y, self.levels, len(self.event_shape), validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        return self.sample()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with torch.no_grad():
            x = (self.levels * self.y).floor().clamp(0, self.levels - 1)
        return x.expand(torch.Size(sample_shape) + x.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            check_pixels(value, self.levels)
            self._validate_sample(value)
        event_dim = len(self.event_shape)
        whole = _whole(value, self.levels).flatten(-event_dim).all(-1)
        inside = _inside(self.y, value, self.levels, event_dim) & whole
        return _if_inside(inside, 0.0, self.y.dtype)


class UniformCell(dist.TorchDistribution):
    r"""Intensities uniform on the cell of each integer pixel: y = (x + u) / levels.

    .. math:: \log q(y \mid x) = D \log \mathrm{levels}

    exactly, for every y in the cell.  Draws stay away from the cell's edges by the rounding error,
    so that floor(levels · y) is x again.

    Shapes: x and y are (\*, event); the log-density is (\*), in nats.

    Args:
        x: whole numbers from 0 to levels - 1, as floats.
        levels: number of grey levels.
        event_dim: number of dimensions of one image.

    Raises:
        ValueError: if x holds other values, unless validation is off.
    """

    arg_constraints = {"x": constraints.nonnegative_integer}
    has_rsample = True

    def __init__(self, x: Tensor, levels: int, event_dim: int, validate_args: bool | None = None) -> None:
        if self._validate_args if validate_args is None else validate_args:
            check_pixels(x, levels)
        self.x = x
        self.levels = levels
        split = x.dim() - event_dim
        super().__init__(x.shape[:split], x.shape[split:], validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        margin = _margin(self.levels, self.x.dtype)
        low, high = (self.x - margin) / self.levels, (self.x + 1 + margin) / self.levels
        return constraints.independent(constraints.interval(low, high), len(self.event_shape))

    def expand(self, batch_shape: Shape, _instance: None = None) -> "UniformCell":
        x = self.x.expand(torch.Size(batch_shape) + self.event_shape)
        return UniformCell(x, self.levels, len(self.event_shape), validate_args=self._validate_args)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = torch.Size(sample_shape) + self.x.shape
        margin = _margin(self.levels, self.x.dtype)
        u = torch.rand(shape, dtype=self.x.dtype, device=self.x.device).clamp(margin, 1 - margin)
        return (self.x + u) / self.levels

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inside = _inside(value, self.x, self.levels, len(self.event_shape))
        return _if_inside(inside, math.prod(self.event_shape) * math.log(self.levels), value.dtype)
