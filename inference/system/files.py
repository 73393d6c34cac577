"""Files that are there whole, or not at all."""

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
except ImportError:  # Windows, where nobody can remove a file that is open
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = re.compile(r"(?P<target>.+)\.[a-z0-9_]{8}\.tmp")  # as mkstemp names it
_FORGOTTEN = 86_400  # seconds after which a file is nobody's, on a disk that cannot say so


def write_whole(path: Path, content: bytes | str, previous: Path | None = None) -> None:
    """Write a file in one step: whatever happens meanwhile, ``path`` holds the old content or the new.

    Args:
        path: file to write.
        content: of it; text is written as UTF-8, and what UTF-8 has no bytes for is spelled out.
        previous: name that a file which is there already is given, once the new one is complete.

    Raises:
        OSError: if it cannot be written, for want of space or permission; all is as it was then.
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
                file.close()  # Windows renames no file that is open
            os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def try_writing(path: Path) -> None:
    """Make sure that a file can be written, before the work of which it is to hold the result.

    Its folder is made if need be; a file that is there stays as it is.

    Raises:
        OSError: if it cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the file another name")
    try:
        descriptor, name = _begin(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the name that was tried
    os.close(descriptor)
    os.unlink(name)


def remove_unfinished(folder: Path, names: Collection[str]) -> None:
    """Remove what killed calls of :func:`write_whole` left in a folder, and leave alone what is being written.

    Args:
        folder: where to look.
        names: patterns of the names that the files were to have.
    """
    for file in folder.iterdir() if folder.is_dir() else ():
        match = _UNFINISHED.fullmatch(file.name)
        if match and any(fnmatch(match["target"], name) for name in names):
            _remove_if_dead(file)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name == "nt":
        return  # Windows has no such call
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _begin(path: Path) -> tuple[int, str]:
    """A new file beside ``path``, locked for as long as it is open: so others know that somebody is writing it."""
    while True:
        # under a name that nobody knows: a link of that name would be followed
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
        _try_lock(descriptor)
        if os.path.exists(name):
            return descriptor, name
        os.close(descriptor)  # taken for a dead one before it was locked


def _try_lock(descriptor: int) -> bool | None:
    """Whether nobody else has the file open; None if the system cannot tell."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network folder without locks
        return None
    return True


def _remove_if_dead(file: Path) -> None:
    try:
        descriptor = os.open(file, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return  # gone by now, or not to be opened
    try:
        free = _try_lock(descriptor)
        if free or (free is None and time.time() - os.fstat(descriptor).st_mtime > _FORGOTTEN):
            file.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _keep(path: Path, previous: Path) -> None:
    """A second name for what ``path`` holds: it is never missing in between."""
    if previous.exists() and os.path.samefile(path, previous):
        return  # a write was killed between the two; replacing a name by one of the same file does nothing
    descriptor, name = _begin(previous)
    os.close(descriptor)
    try:
        os.unlink(name)
        os.link(path, name)
    except OSError:  # a disk without links
        shutil.copyfile(path, name)
    os.replace(name, previous)
