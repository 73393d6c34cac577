"""How the C library keeps the memory of tensors that have been freed."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have the next tensors take the memory of those freed before; returns whether this C library can.

    By default glibc returns blocks from some megabytes on to the system at once, and each step of a training gets
    them back page by page, cleared, which takes a good part of the time of networks for images.  Memory that is freed
    is reused first, so that a process needs hardly more of it at its largest.  Settings of the user, such as the
    environment variable ``MALLOC_MMAP_MAX_``, stay.

    Source: the manual page mallopt(3) of the Linux man-pages project.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc, or Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _NEVER))
