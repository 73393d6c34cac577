"""The folder of a run: which files belong to the run, who may write them, and how a new run replaces an old one.

A new run is prepared in a subfolder and replaces the old one when its first checkpoint is written.  If the process
is killed, one of these subfolders remains, and the next start continues from there:

    .new-*      a run being prepared, which is discarded
    .whole      a complete run, for which the old run's files are being removed
    .placing    a complete run, whose files are being moved into place
"""

import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from filelock import FileLock, Timeout

from inference.system.files import remove_unfinished, sync_folder, umask

RESULTS = (  # written by those who evaluate a trained run
    "evaluation.json",
    "evaluation_first_[0-9]*.json",
    "diagnosis.json",
    *("figures/samples.png", "figures/inpainting.png", "figures/latent_*.png"),
)
_MADE = ("config.yaml", "model.yaml", "data.json", "environment.json")  # with the run
DESCRIBED = ("config.yaml", "model.yaml", "environment.json")  # before the first epoch
TABLES = ("metrics.csv", "seconds.csv")
DESCRIPTIONS = (*_MADE, "evaluation.json")  # small files of names and numbers
SHARED = (*DESCRIPTIONS, *TABLES, "checkpoints/last.safetensors", "checkpoints/best.safetensors")  # with others
OWN_FILES = (
    *(*_MADE, *TABLES),
    *("checkpoints/last.safetensors", "checkpoints/previous.safetensors", "checkpoints/best.safetensors"),
    "tensorboard/events.out.tfevents.*",
    *RESULTS,
)
OWN_FOLDERS = ("checkpoints", "figures", "tensorboard")
_LOCK, _NEW, _WHOLE, _PLACING = ".run.lock", ".new-", ".whole", ".placing"
_PATIENCE = 2.0  # seconds to wait for a process that may only be tidying up
_MODE = 0o666 & ~umask()


class RunError(RuntimeError):
    """A run folder is missing, incomplete, in use or in the way."""


@contextmanager
def locked(path: Path, keep: Path | None = None, patience: float = _PATIENCE) -> Iterator[None]:
    """Keep other processes from writing a run here; first clean up after killed ones.

    The same thread may enter it again.  The operating system holds the lock and frees it however the
    process ends.

    Args:
        path: the run's folder, created if needed.
        keep: a new run being prepared in it.
        patience: seconds to wait for another process.

    Raises:
        RunError: if another process trains here, or the folder cannot be locked.
    """
    path.mkdir(parents=True, exist_ok=True)
    _check_lock(path / _LOCK)
    lock = FileLock(path.resolve() / _LOCK, mode=_MODE, is_singleton=True)
    entered = lock.is_locked
    try:
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise RunError(
            f"another process is training in {path}: wait until it has finished, or choose another folder"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise RunError(f"{path} cannot be locked for writing ({error}): choose a folder on another disk") from error
    try:
        if not entered:
            _put_in_order(path, keep)
        yield
    finally:
        lock.release()


def settle(path: Path) -> None:
    """Finish an interrupted replacement, or wait until the process that is doing it has finished.

    Raises:
        RunError: if the folder cannot be written.
    """
    started = time.monotonic()
    while is_unsettled(path):
        try:
            with locked(path, patience=0):
                return
        except RunError as error:
            if time.monotonic() - started > _PATIENCE:
                raise RunError(
                    f"the run in {path} was being replaced by another, which cannot be completed: {error}"
                ) from error
            time.sleep(0.05)


def is_unsettled(path: Path) -> bool:
    return (path / _WHOLE).is_dir() or (path / _PLACING).is_dir()


def make_new(path: Path) -> Path:
    """A subfolder of ``path`` in which to prepare a run, with a folder for its checkpoints."""
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=path))
    new.chmod(0o777 & ~umask())
    (new / "checkpoints").mkdir()
    return new


def take_place(path: Path, new: Path) -> None:
    """Replace the run in ``path`` by the complete one in ``new``; other files stay."""
    sync_folder(new)
    new.rename(path / _WHOLE)
    _carry_on(path)


def own_files(path: Path) -> list[Path]:
    return [file for pattern in OWN_FILES for file in path.glob(pattern)]


def is_a_runs(path: Path) -> bool:
    """Whether a folder holds a run, or the remains of preparing one, rather than only other files."""
    if (path / _LOCK).exists() or ((path / "config.yaml").is_file() and (path / "checkpoints").is_dir()):
        return True
    names = {file.name for file in path.iterdir()} - {"checkpoints"}
    begun = (*OWN_FILES, *(f"{pattern}.*.tmp" for pattern in OWN_FILES))  # by versions that prepared a run in place
    empty = not (path / "checkpoints").is_dir() or not any((path / "checkpoints").iterdir())
    return empty and all(any(fnmatch(name, pattern) for pattern in begun) for name in names)


def check_name(path: Path) -> None:
    """Check that the folder's name is valid UTF-8: otherwise checkpoints could be written but not read.

    Raises:
        RunError: if it is not, or if it is an address on the Hub.
    """
    if path.parts[:1] == ("hf:",):
        raise RunError(f"{path} is no folder: train in a folder, and share it with pyro-models push FOLDER owner/name")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise RunError(f"{str(path)!r} is not valid UTF-8: give the folder for the run another name") from error


def _check_lock(file: Path) -> None:
    """Check that the lock is not a link: some versions of filelock truncate the file it leads to."""
    if file.is_symlink() or (file.is_file() and file.stat().st_nlink > 1):
        raise RunError(f"{file} is a link: remove it")


def check_nothing_is_in_the_way(path: Path) -> None:
    """Check that nothing else is in the place of a run's files and folders.

    Raises:
        RunError: if a link, a file or a folder is.
    """
    for name in OWN_FOLDERS:
        if (path / name).is_symlink():
            raise RunError(f"{path / name} is a symbolic link: put a folder in its place")
        if (path / name).exists() and not (path / name).is_dir():
            raise RunError(f"{path / name} is a file, but must be a folder: move it elsewhere")
    for file in own_files(path):
        if file.is_symlink():
            raise RunError(f"{file} is a symbolic link: put a file in its place")
        if file.is_dir():
            raise RunError(f"{file} is a folder, but must be a file: move it elsewhere")


def remove_unfinished_results(path: Path) -> None:
    """Remove what killed evaluations left, but not what others are writing."""
    _remove_unfinished(path, RESULTS)


def _put_in_order(path: Path, keep: Path | None) -> None:
    _carry_on(path)
    left = [new for new in path.glob(f"{_NEW}*") if new != keep and new.is_dir() and not new.is_symlink()]
    for new in left:
        shutil.rmtree(new)
    if left and (path / "config.yaml").is_file():
        warnings.warn(f"a run that was to replace the one in {path} ended before its first checkpoint", stacklevel=4)
    _remove_unfinished(path, OWN_FILES)


def _carry_on(path: Path) -> None:
    whole, placing = path / _WHOLE, path / _PLACING
    for folder in (whole, placing):
        if folder.is_symlink():  # in someone else's run: files would be moved out of the folder it leads to
            raise RunError(f"{folder} is a symbolic link: remove it")
    for folder in (
        (path, whole, placing) if is_unsettled(path) else ()
    ):  # nor may a link within lead the files elsewhere
        check_nothing_is_in_the_way(folder)
    if whole.is_dir():
        for file in own_files(path):
            file.unlink(missing_ok=True)
        whole.rename(placing)
        sync_folder(path)
    if placing.is_dir():
        (path / "checkpoints").mkdir(exist_ok=True)
        for file in own_files(placing):
            file.replace(path / file.relative_to(placing))
        for folder in (path / "checkpoints", path):
            sync_folder(folder)
        shutil.rmtree(placing)


def _remove_unfinished(path: Path, patterns: tuple[str, ...]) -> None:
    for name in ("", *OWN_FOLDERS):
        if name and (path / name).is_symlink():
            continue
        within = [pattern.rpartition("/")[2] for pattern in patterns if pattern.rpartition("/")[0] == name]
        remove_unfinished(path / name, within)
