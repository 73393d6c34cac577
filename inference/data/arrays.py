"""NumPy's files, .npy and .npz: their headers are checked before anything is read, and nothing is unpickled."""

import math
import warnings
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from typing import IO

import numpy as np
from numpy.lib import format as npy

from inference.data.errors import DataError, first_line
from inference.data.files import LARGEST, size_of

_REFUSED = {
    "O": "Python objects, which only unpickling would read",
    "c": "complex numbers",
    "U": "text",
    "S": "text",
    "V": "records of several fields",
    "M": "dates",
    "m": "durations",
}


@dataclass(frozen=True)
class Header:
    """What stands before the numbers of an array: their type, shape and order, and how many bytes it takes itself."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int

    @property
    def num_bytes(self) -> int:
        """Bytes of the numbers."""
        return self.dtype.itemsize * math.prod(self.shape)


def read_header(stream: IO[bytes] | RawIOBase, size: int, where: str) -> Header:
    """The header of an array that takes ``size`` bytes in all.

    Raises:
        DataError: if it has none, its numbers are not real ones, or do not fill the rest of the bytes exactly.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = npy.read_magic(stream)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, fortran_order, dtype = read(stream)
    except Exception as error:  # on damaged bytes NumPy's parser raises whatever it hits
        raise DataError(f"{where} is not an array as NumPy saves it ({first_line(error)})") from error
    if not all(type(side) is int for side in shape):
        raise DataError(f"{where} is damaged: its shape is {shape}")
    header = Header(dtype, shape, fortran_order, stream.tell())
    if dtype.kind not in "biuf":
        raise DataError(f"{where} holds {_REFUSED.get(dtype.kind, dtype)}: expected an array of real numbers")
    if any(side <= 0 for side in shape) or not shape:
        raise DataError(f"{where} has the shape {shape}: expected (N, ...) with no empty side")
    if header.offset + header.num_bytes != size:
        raise DataError(
            f"{where} is damaged: an array of shape {shape} and type {dtype} takes {header.num_bytes:,} bytes, "
            f"and there are {size - header.offset:,}"
        )
    return header


def read_npy(file: BufferedReader, where: str) -> np.ndarray:
    """The array in a .npy file, in this machine's byte order.

    Raises:
        DataError: if it cannot be read.
    """
    file.seek(0)
    return _read_numbers(file, read_header(file, size_of(file), where), where)


def npz_headers(file: BufferedReader, where: str, names: Collection[str]) -> dict[str, Header]:
    """The headers of those of the named arrays that a .npz file holds.

    Raises:
        DataError: if it is no such file, or they take more than 4 GiB together.
    """
    with _opened(file, where) as archive:
        return {name: header for name, header, _ in _members(archive, where, names)}


def read_npz(file: BufferedReader, where: str, names: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays that a .npz file holds.

    Raises:
        DataError: as :func:`npz_headers`, or if an array is damaged.
    """
    arrays = {}
    with _opened(file, where) as archive:
        for name, header, info in _members(archive, where, names):
            with archive.open(info) as member:
                member.read(header.offset)
                arrays[name] = _read_numbers(member, header, f"{name} of {where}")
    return arrays


def _opened(file: BufferedReader, where: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except Exception as error:  # as for headers
        raise DataError(f"{where} is not a .npz file ({first_line(error)})") from error


def _members(archive: zipfile.ZipFile, where: str, names: Collection[str]) -> list[tuple[str, Header, zipfile.ZipInfo]]:
    infos = [info for info in archive.infolist() if info.filename.removesuffix(".npy") in names]
    if len({info.filename.removesuffix(".npy") for info in infos}) < len(infos):
        raise DataError(f"{where} is damaged: it holds two arrays of the same name")
    total = sum(info.file_size for info in infos)
    if total > LARGEST:
        raise DataError(
            f"{where} holds {total:,} bytes, and a .npz file is read into memory, up to {LARGEST:,}: "
            "save x by itself as a .npy file, which is read piece by piece"
        )
    found = []
    for info in infos:
        name = info.filename.removesuffix(".npy")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{name} of {where} is compressed in a way that NumPy does not use: save it anew")
        try:
            with archive.open(info) as member:
                found.append((name, read_header(member, info.file_size, f"{name} of {where}"), info))
        except DataError:
            raise
        except Exception as error:  # as for headers
            raise DataError(f"{name} of {where} is damaged ({first_line(error)})") from error
    return found


def _read_numbers(stream: IO[bytes], header: Header, where: str) -> np.ndarray:
    """The array behind a header, C-contiguous and in this machine's byte order."""
    numbers = np.empty(math.prod(header.shape), header.dtype)
    rest = memoryview(numbers.view(np.uint8).data)
    try:
        while rest and (count := stream.readinto(rest)):  # type: ignore[attr-defined]
            rest = rest[count:]
    except Exception as error:  # as for headers
        raise DataError(f"{where} is damaged ({first_line(error)})") from error
    if rest:
        raise DataError(f"{where} is damaged: it ends {len(rest):,} bytes too early")
    numbers = numbers.astype(header.dtype.newbyteorder("="), copy=False)
    if header.fortran_order:
        return np.ascontiguousarray(numbers.reshape(header.shape[::-1]).T)
    return numbers.reshape(header.shape)
