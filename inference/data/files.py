"""Files of data: opened only if they are regular files, and told apart by their bytes."""

import hashlib
import os
import stat
from io import BufferedReader, RawIOBase

from inference.data.errors import DataError

LARGEST = 2**32  # bytes of what is read into memory


def open_file(path: str) -> BufferedReader:
    """A regular file for reading; pipes, sockets and devices, which may block or never end, are refused.

    Raises:
        DataError: if there is no such file, or it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{path} cannot be read: it is not a regular file")
    return open(descriptor, "rb")


def size_of(file: BufferedReader | RawIOBase) -> int:
    """Bytes in an open file."""
    return os.fstat(file.fileno()).st_size


def sha256_of(file: BufferedReader | RawIOBase) -> str:
    """The SHA-256 of an open file, in hexadecimal."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
