"""Files that are there whole, or not at all."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes | str, previous: Path | None = None) -> None:
    """Write a file in one step: whatever happens meanwhile, ``path`` holds the old content or the new.

    Args:
        path: file to write.
        content: of it.
        previous: name that a file which is there already is given, once the new one is complete.

    Raises:
        OSError: if it cannot be written, for want of space or permission; all is as it was then.
    """
    # under a name that nobody knows: a link of that name would be followed
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        if previous is not None and path.is_file():
            path.replace(previous)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no such call
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
