"""Atomic file writes."""

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = re.compile(r"(?P<target>.+)\.[a-z0-9_]{8}\.tmp")  # as mkstemp names it
_FORGOTTEN = 86_400  # seconds after which an unfinished file counts as abandoned, on a disk without locks


def write_whole(path: Path, content: bytes | str, previous: Path | None = None) -> None:
    """Write a file atomically: whatever happens, ``path`` holds either the old content or the new.

    Args:
        path: file to write.
        content: bytes, or text, which is written as UTF-8 with backslash escapes for what UTF-8 cannot encode.
        previous: new name for the file that is already at ``path``, given once the new one is complete.

    Raises:
        OSError: if it cannot be written, for lack of space or permission; nothing has changed then.
    """
    descriptor, name = _begin(path)
    try:
        with open(descriptor, "wb") as file:
            file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~umask())
            if previous is not None and path.is_file():
                _keep(path, previous)
            if fcntl is None:
                file.close()  # Windows cannot rename an open file
            os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def try_writing(path: Path) -> None:
    """Check that a file can be written, before doing the work whose result it will hold.

    Its folder is created if needed; an existing file stays unchanged.

    Raises:
        OSError: if it cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the file another name")
    try:
        descriptor, name = _begin(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the temporary name
    os.close(descriptor)
    os.unlink(name)


def remove_unfinished(folder: Path, names: Collection[str]) -> None:
    """Remove what killed calls of :func:`write_whole` left in a folder, but not what is being written now.

    Args:
        folder: where to look.
        names: patterns of the final names.
    """
    for file in folder.iterdir() if folder.is_dir() else ():
        match = _UNFINISHED.fullmatch(file.name)
        if match and any(fnmatch(match["target"], name) for name in names):
            _remove_if_dead(file)


def sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk."""
    if os.name == "nt":
        return  # Windows has no such call
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have no such call either
            raise
    finally:
        os.close(descriptor)


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _begin(path: Path) -> tuple[int, str]:
    """A new file beside ``path``, locked while it is open, which tells others that it is being written."""
    while True:
        # an unpredictable name: a link planted under a known one would be followed
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
        _try_lock(descriptor)
        if os.path.exists(name):
            return descriptor, name
        os.close(descriptor)  # another process took it for abandoned before it was locked


def _try_lock(descriptor: int) -> bool | None:
    """Whether the file is now locked by us alone; None if the disk has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # such as a network folder without locks
        return None
    return True


def _remove_if_dead(file: Path) -> None:
    try:
        descriptor = os.open(file, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return  # gone by now, or not ours to open
    try:
        free = _try_lock(descriptor)
        if free or (free is None and time.time() - os.fstat(descriptor).st_mtime > _FORGOTTEN):
            file.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _keep(path: Path, previous: Path) -> None:
    """Give the file at ``path`` a second name, without ever removing the first."""
    if previous.exists() and os.path.samefile(path, previous):
        return  # a write was killed halfway; renaming one name of a file to another does nothing
    descriptor, name = _begin(previous)
    os.close(descriptor)
    try:
        os.unlink(name)
        os.link(path, name)
    except OSError:  # a disk without links
        shutil.copyfile(path, name)
    os.replace(name, previous)
