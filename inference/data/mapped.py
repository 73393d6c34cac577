"""Rows of a .npy file too large for memory, read from the disk batch by batch."""

import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.data.arrays import read_header
from inference.data.errors import DataError
from inference.data.files import open_file, sha256_of, size_of
from inference.data.layouts import Values, channels_first, values_of

MAPPED_ABOVE = 2**30  # bytes: a smaller .npy file is read whole
_PIECE = 2**20  # bytes of a piece of data that are gone through once: pieces that fit a cache
_SPREAD = 4  # so many times the rows asked for are read at once, rather than each by itself
_SHOWN = 4096  # rows that stand for all where going through all would take long


class RowFile:
    """A .npy file whose rows are read when they are asked for.

    It is read through one open file, not mapped into memory: mapped pages would count as the process's own, and a
    file cut short would kill the process.

    Args:
        path: of the file, in C order.

    Raises:
        DataError: if it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = open_file(path).detach()
        weakref.finalize(self, self._file.close)
        self._state = self._current_state()
        self.header = read_header(self._file, size_of(self._file), path)
        if self.header.fortran_order:
            raise DataError(f"{path} is in Fortran order, and too large to be read whole: save np.ascontiguousarray(x)")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape

    @property
    def dtype(self) -> np.dtype:
        return self.header.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @cached_property
    def row_bytes(self) -> int:
        return self.header.num_bytes // len(self)

    @cached_property
    def values(self) -> Values:
        """What values the file holds; the first call goes through all of it."""
        count = max(1, _PIECE // self.row_bytes)
        return values_of(self.read(np.arange(i, min(i + count, len(self)))) for i in range(0, len(self), count))

    @cached_property
    def sha256(self) -> str:
        return sha256_of(self._file)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """These rows, in their order and this machine's byte order.

        Raises:
            DataError: if the file has changed since it was opened.
        """
        self._check_state()
        distinct, places = np.unique(rows, return_inverse=True)  # in the disk's order
        first, span = (int(distinct[0]), int(distinct[-1] - distinct[0]) + 1) if len(distinct) else (0, 0)
        if span <= _SPREAD * len(distinct):
            found = self._filled(span, [first])[distinct - first]
        else:
            found = self._filled(len(distinct), distinct.tolist())
        return found.astype(self.dtype.newbyteorder("="), copy=False)[places]

    def _filled(self, count: int, starts: list[int]) -> np.ndarray:
        """So many rows, from equally long stretches of the file that start at these."""
        rows = np.empty((count, *self.shape[1:]), self.dtype)
        content, length = rows.reshape(-1).view(np.uint8).data, rows.nbytes // len(starts)
        for i, start in enumerate(starts):
            self._file.seek(self.header.offset + start * self.row_bytes)
            rest = content[i * length : (i + 1) * length]
            while rest and (read := self._file.readinto(rest)):
                rest = rest[read:]
            if rest:
                raise DataError(f"{self.path} is damaged: it ends {len(rest):,} bytes too early")
        return rows

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (os.path.abspath(self.path), self._state)

    def _current_state(self) -> os.stat_result:
        return os.fstat(self._file.fileno())

    def _check_state(self) -> None:
        now, then = self._current_state(), self._state
        same = (now.st_size, now.st_mtime_ns) == (then.st_size, then.st_mtime_ns)
        relinked = now.st_nlink != then.st_nlink  # another file took the name: this one is still there
        if not same or (now.st_ctime_ns != then.st_ctime_ns and not relinked):
            raise DataError(f"{self.path} has changed since it was opened: start again, and leave it as it is")


def _reopened(path: str, state: os.stat_result) -> RowFile:
    """A copy of a file of rows."""
    file = RowFile(path)
    file._state = state
    file._check_state()
    return file


@dataclass(frozen=True, eq=False)
class Mapped:
    """Rows of a file in place of a tensor: indexing reads them, and gives a tensor.

    Args:
        file: the file.
        dtype: of the tensors.
        layout: of the file's rows, see :data:`~inference.data.layouts.LAYOUTS`; images come out as (C, H, W).
        device: of the tensors.
        rows: the numbers of the rows; all by default.
    """

    file: RowFile
    dtype: torch.dtype
    layout: str = "ND"
    device: torch.device = torch.device("cpu")  # noqa: RUF009  (torch's devices never change)
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.file) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self[:0].shape[1:]))

    def dim(self) -> int:
        return len(self.shape)

    def max(self) -> float:
        """The largest value of the whole file."""
        return self.file.values.high

    def to(self, target: torch.device | torch.dtype | str) -> "Mapped":
        """The same rows as tensors of another type, or on a device."""
        if isinstance(target, torch.dtype):
            return replace(self, dtype=target)
        return replace(self, device=torch.device(target))

    def take(self, index: Tensor | slice) -> "Mapped":
        """Some of the rows, without reading them."""
        return replace(self, rows=self._rows_at(index))

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        found = self.file.read(self._rows_at(index))
        if self.layout != "ND":
            found = channels_first(found, self.layout)
        elif found.dtype not in (np.float32, np.float64):
            found = found.astype(np.float64)
        return torch.from_numpy(np.ascontiguousarray(found)).to(self.device, self.dtype)

    def _rows_at(self, index: Tensor | slice) -> np.ndarray:
        if isinstance(index, slice):
            places = np.arange(*index.indices(len(self)))
            return places if self.rows is None else self.rows[places]
        places = index.cpu().numpy()
        if places.dtype == bool:
            places = places.nonzero()[0]
        if len(places) and not -len(self) <= places.min() <= places.max() < len(self):
            raise IndexError(f"there are {len(self)} rows; got indices from {places.min()} to {places.max()}")
        places = places % len(self) if len(places) else places
        return places if self.rows is None else self.rows[places]


def taken(values: Tensor | Mapped, index: Tensor | slice) -> Tensor | Mapped:
    """The rows at these indices; those of a file are not read."""
    return values.take(index) if isinstance(values, Mapped) else values[index]


def rows_of(values: Tensor | Mapped, index: Tensor | slice) -> Tensor:
    """The rows at these indices."""
    if isinstance(values, Mapped) or isinstance(index, slice):
        return values[index]
    if values.device.type != "cpu" or not values.is_contiguous():  # the batch has their layout
        return values[index]
    if index.dtype == torch.int64 and index.dim() == 1 and index.numel() and index.min() >= 0:
        return values.index_select(0, index)  # ten times as fast, but knows no negative ones
    return values[index]


def are_finite(values: Tensor | Mapped) -> bool:
    """Whether all values are finite in their type."""
    if isinstance(values, Tensor):
        return bool(torch.isfinite(values).all())
    found, largest = values.file.values, torch.finfo(values.dtype).max
    return bool(-largest <= found.low <= found.high <= largest)


def first_rows(values: Tensor | Mapped) -> Tensor:
    """All rows of a tensor, and the first few thousand of a file."""
    return values[:_SHOWN] if isinstance(values, Mapped) else values


def pieces_of(values: Tensor | Mapped) -> Iterator[Tensor]:
    """All rows, in pieces of about 1 MB."""
    row = values.dtype.itemsize * values.shape[1:].numel()
    count = max(1, _PIECE // row)
    for first in range(0, len(values), count):
        yield values[first : first + count]
