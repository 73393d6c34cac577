"""A data set of vectors, and their standardisation."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference.data.errors import DataError
from inference.data.labels import check_labels
from inference.data.mapped import Mapped, are_finite, first_rows, pieces_of, rows_of, taken
from inference.data.rows import Rows


@dataclass(frozen=True)
class Vectors(Rows):
    r"""Vectors of real numbers, which programs see as they are or standardised.

    .. math:: x = (v - \mathrm{loc}) / \mathrm{scale}, \qquad
        \log p(v) = \log p(x) + \mathrm{log\_det}, \quad \mathrm{log\_det} = -\sum_d \log \mathrm{scale}_d

    What :func:`~inference.fit`, :func:`~inference.negative_bounds` and :func:`~inference.diagnose` report are
    densities of the data as they came, v, whatever the standardisation.

    Args:
        name: the data set and split, for messages.
        values: (N, D) float32 or float64, v: a tensor, or rows of a file too large for memory.
        labels: (N,) int64, if there are any.
        conditional: whether model and guide also take the labels.
        loc: (D,), subtracted from the data; nothing by default.
        scale: (D,), by which the data are divided then; nothing by default.
        classes: how many there are, if the labels may lack the last ones.
        columns: names of the D coordinates, if they have any.

    Raises:
        TypeError: if the values are not float32 or float64.
        ValueError: if a shape is wrong, or a value is not finite.

    Example:
        >>> import torch
        >>> from inference import Vectors, standardise
        >>> train, test = standardise(Vectors("train", 5 * torch.randn(100, 2)), Vectors("test", torch.randn(10, 2)))
        >>> train.observe().std(0).round(), train.take(slice(3)).values.shape
        (tensor([1., 1.]), torch.Size([3, 2]))
    """

    name: str
    values: Tensor | Mapped
    labels: Tensor | None = None
    conditional: bool = False
    loc: Tensor | None = None
    scale: Tensor | None = None
    classes: int | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("values", "loc", "scale"):
            part = getattr(self, name)
            if isinstance(part, Tensor) and part.requires_grad:
                object.__setattr__(self, name, part.detach())  # data are constants
        if self.values.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{self.name}: values must be float32 or float64; got {self.values.dtype}")
        if self.values.dim() != 2 or 0 in self.values.shape:
            raise ValueError(
                f"{self.name}: values must be (N, D) with no empty side; got {tuple(self.values.shape)}"
                f"{' (values[:, None] makes vectors of one number)' if self.values.dim() == 1 else ''}"
            )
        if not are_finite(self.values):
            raise ValueError(f"{self.name}: some values are not finite (NaN or infinity): remove or replace them")
        check_labels(self.name, self.labels, len(self.values), self.conditional, self.classes)
        if self.columns is not None and len(self.columns) != self.num_dims:
            raise ValueError(f"{self.name}: expected {self.num_dims} names of columns; got {len(self.columns)}")
        for name, part in (("loc", self.loc), ("scale", self.scale)):
            if part is not None and part.shape != self.shape:
                raise ValueError(f"{self.name}: {name} must have the shape {self.shape}; got {tuple(part.shape)}")
            if part is not None and not torch.isfinite(part).all():
                raise ValueError(f"{self.name}: {name} must be finite, and holds NaN or infinity")
        if self.scale is not None and not (self.scale > 0).all():
            raise ValueError(f"{self.name}: scale must be positive, and holds {float(self.scale.min()):g}")

    @property
    def rows(self) -> Tensor | Mapped:
        return self.values

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape[1:])

    @property
    def num_dims(self) -> int:
        return self.shape[0]

    @property
    def log_det(self) -> float:
        return 0.0 if self.scale is None else -math.fsum(self.scale.double().log().tolist())

    def to(self, device: torch.device | str) -> "Vectors":
        labels, loc, scale = (_moved(part, device) for part in (self.labels, self.loc, self.scale))
        return replace(self, values=self.values.to(device), labels=labels, loc=loc, scale=scale)

    def take(self, index: Tensor | slice) -> "Vectors":
        """The vectors at these indices, as a data set with the same standardisation."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, values=taken(self.values, index), labels=labels)

    def observe(self, index: Tensor | slice = slice(None)) -> Tensor:
        """What programs see of the vectors at these indices: (B, D), standardised if a scale is given."""
        x = rows_of(self.values, index)
        x = x if self.loc is None else x - self.loc
        return x if self.scale is None else x / self.scale

    def restore(self, x: Tensor) -> Tensor:
        """The vectors behind what programs see, or draw, (\\*, D): the inverse of :meth:`observe`."""
        v = x if self.scale is None else x * self.scale
        return v if self.loc is None else v + self.loc

    def extremes(self) -> Tensor:
        """The first two vectors, and those with extremes of the first coordinates (of a file, among its first rows)."""
        values = first_rows(self.values)
        index = [0, min(1, len(self) - 1), *values.argmin(0).tolist()[:4], *values.argmax(0).tolist()[:4]]
        return torch.tensor(sorted(set(index)), device=values.device)


def standardise(train: Vectors, *others: Vectors) -> tuple[Vectors, ...]:
    r"""The data sets, shown to programs with mean 0 and standard deviation 1 in each coordinate of the training set.

    .. math:: \mathrm{loc}_d = \frac1N \sum_n v_{nd}, \qquad
        \mathrm{scale}_d^2 = \frac1N \sum_n (v_{nd} - \mathrm{loc}_d)^2

    Raises:
        ValueError: if there is one training vector, or a coordinate is the same in all, so that it has no density.

    Example:
        >>> import torch
        >>> from inference import Vectors, standardise
        >>> train, test = standardise(Vectors("train", 5 * torch.randn(100, 2)), Vectors("test", torch.randn(10, 2)))
        >>> bool(torch.allclose(test.restore(test.observe()), test.values, atol=1e-5))
        True
    """
    if len(train) < 2:
        raise ValueError(f"{train.name}: at least 2 training vectors are needed to standardise, and there is 1")
    low, high, loc, scale = _moments(train.values)
    constant = (low == high).nonzero().flatten().tolist()
    if constant:
        raise ValueError(
            f"{train.name}: coordinate {_listed(train, constant)} has the same value in all {len(train)} vectors, "
            "and so no density: leave it out"
        )
    to = train.values.dtype
    return tuple(replace(data, loc=loc.to(to), scale=scale.to(to)) for data in (train, *others))


def check_float32(data: Vectors) -> None:
    """Check that float64 vectors stay apart as float32, within a hundredth of a standard deviation.

    Raises:
        DataError: if not.
    """
    low, high, _, scale = _moments(data.values)
    largest = torch.maximum(-low, high).float()
    spacing = torch.nextafter(largest, torch.full_like(largest, torch.inf)) - largest
    lost = ((low < high) & (spacing > 0.01 * scale)).nonzero().flatten().tolist()
    if lost:
        raise DataError(
            f"{data.name}: coordinate {_listed(data, lost)} varies too little beside its size for float32: "
            "say --dtype float64"
        )


def _moments(values: Tensor | Mapped) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The smallest and the largest value of each coordinate, its mean and its standard deviation, as float64."""
    pieces = [torch.stack([piece.amin(0), piece.amax(0)]).double() for piece in pieces_of(values)]
    lows, highs = torch.stack(pieces, 1)
    low, high = lows.amin(0), highs.amax(0)
    unit = torch.exp2(torch.frexp(torch.maximum(-low, high)).exponent.double() - 1)  # no square over- or underflows
    total, square = torch.zeros_like(unit), torch.zeros_like(unit)
    for piece in pieces_of(values):
        total += (piece.double() / unit).sum(0)
    loc = total / len(values)
    for piece in pieces_of(values):
        square += (piece.double() / unit - loc).square_().sum(0)
    return low, high, loc * unit, (square / len(values)).sqrt() * unit


def _listed(data: Vectors, coordinates: list[int]) -> str:
    return ", ".join(str(d) if data.columns is None else f"{data.columns[d]:.40}" for d in coordinates[:10])


def _moved(part: Tensor | None, device: torch.device | str) -> Tensor | None:
    return None if part is None else part.to(device)
