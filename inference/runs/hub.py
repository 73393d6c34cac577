"""Runs on the Hugging Face Hub, at ``hf://owner/name`` or ``hf://owner/name@revision``."""

import errno
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inference.runs.folder import DESCRIBED, DESCRIPTIONS, SHARED, TABLES, RunError
from inference.runs.reading import LARGEST, read_mapping
from inference.runs.tables import LARGEST_TABLE
from inference.system.progress import Bar

PREFIX = "hf://"
_REPOSITORY = re.compile(r"[A-Za-z0-9]\w*([.-]\w+)*/[A-Za-z0-9]\w*([.-]\w+)*", re.ASCII)
_REVISION = re.compile(r"\w+([./-]\w+)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LARGEST_WEIGHTS = 4 * 2**30  # bytes
_NEW = ".new-"
_FORGOTTEN = 86_400  # seconds after which a download is of a killed process
_OF_A_NEW_ONE = (".gitattributes", "README.md", "LICENSE")
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def place_of(run: Path | str) -> Path:
    """The folder of a run: a path as it is, or that of a copy of ``hf://owner/name``, fetched unless it is there.

    Raises:
        RunError: if it cannot be fetched.
    """
    if isinstance(run, Path) and run.parts[:1] == ("hf:",):  # which a path makes of hf://
        run = PREFIX + "/".join(run.parts[1:])
    return fetched(run) if isinstance(run, str) and run.startswith(PREFIX) else Path(run)


def is_fetched(path: Path) -> bool:
    """Whether a folder of a run is a copy from the Hub, in the user's cache."""
    return path.resolve().is_relative_to(_cache().resolve())


def fetched(address: str) -> Path:
    """Fetch a run into the user's cache folder, one folder a commit: the files that a shared run has, and no others.

    An address that names a whole commit needs no network once it has been fetched.

    Raises:
        RunError: if there is no such run, it is too large, or the Hub cannot be reached.
    """
    repository, _, revision = address.removeprefix(PREFIX).partition("@")
    check_repository(repository)
    if "@" in address and not _REVISION.fullmatch(revision):
        raise RunError(f"{revision!r:.80} is no revision: expected a branch, a tag or a commit after the @")
    home = _cache() / repository
    if _COMMIT.fullmatch(revision) and (home / revision).is_dir():
        return home / revision
    with _plain_errors(address):
        from huggingface_hub import HfApi

        api = HfApi()
        info = api.model_info(repository, revision=revision or None, files_metadata=True)
        commit = info.sha or ""
        if not _COMMIT.fullmatch(commit):
            raise RunError(f"{address} has no commit: the Hub answered {commit!r:.80}")
        sizes = _checked(address, {file.rfilename: file.size for file in info.siblings or ()})
        if not (home / commit).is_dir():
            _download(partial(api.hf_hub_download, repository, revision=commit), address, home / commit, sizes)
    return home / commit


def _download(get: Callable[..., Any], address: str, place: Path, sizes: dict[str, int]) -> None:
    """Fetch files of a repository into a new folder, which is named as its commit and is there once it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for old in place.parent.glob(f"{_NEW}*"):  # of a process that was killed
        if time.time() - old.lstat().st_mtime > _FORGOTTEN:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=_NEW) as new, Bar(f"fetching {address}"):
        run = Path(new) / "run"
        for name, size in sizes.items():
            get(filename=name, local_dir=run)
            if (got := (run / name).stat().st_size) != size:
                raise RunError(f"{address} is refused: its {name} was to have {size:,} bytes and has {got:,}")
        shutil.rmtree(run / ".cache", ignore_errors=True)  # the library's notes
        try:
            run.rename(place)
        except OSError:
            if not place.is_dir():  # or another process was faster
                raise


def pushed(folder: Path, repository: str, private: bool = False, overwrite: bool = False) -> str:
    """Make the files of a folder those of a repository, created if needed; returns the address of the commit.

    Files of an earlier run that this one lacks are removed; all others stay.

    Args:
        folder: a shared run and its page.
        repository: ``owner/name``.
        private: make a new repository private.
        overwrite: replace a run of another model.

    Raises:
        RunError: if the repository cannot be written, holds another model, or is public but asked to be private.
    """
    check_repository(repository)
    with _plain_errors(PREFIX + repository):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        info = api.model_info(repository)
        there = {file.rfilename for file in info.siblings or ()}
        _check_is_for_a_run(repository, there)
        if there.issuperset(DESCRIBED) and not overwrite:
            _check_model_and_data(
                partial(api.hf_hub_download, repository, revision=info.sha), repository, folder, there
            )
        if private and not info.private:
            raise RunError(
                f"{PREFIX}{repository} is public already: make it private on its page, or push without --private"
            )
        files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        stale = there & {*SHARED} - files.keys()
        changes: list[Any] = [
            *(CommitOperationAdd(name, str(file)) for name, file in sorted(files.items())),
            *(CommitOperationDelete(name) for name in sorted(stale)),
        ]
        message = "Share a run of pyro-models"
        done = api.create_commit(repository, changes, commit_message=message, parent_commit=info.sha)
        return str(done.commit_url)


def _check_is_for_a_run(repository: str, there: set[str]) -> None:
    """Check that a repository is new or holds a run, so that no other model is replaced.

    Raises:
        RunError: if not.
    """
    others = sorted(name for name in there if name not in _OF_A_NEW_ONE)
    if others and not there.issuperset(DESCRIBED):
        raise RunError(f"{PREFIX}{repository} holds {others[0]!r:.80}, which is no run: push to another repository")


def _check_model_and_data(get: Callable[..., Any], repository: str, folder: Path, there: set[str]) -> None:
    """Check that the run of a repository has the model, guide and data of that of a folder.

    Raises:
        RunError: if not.
    """
    compared = {"of another model": ("model.yaml", None), "on other data": ("data.json", ("sha256", "source"))}
    with tempfile.TemporaryDirectory() as elsewhere:
        for what, (name, keys) in compared.items():
            if name not in there or not (folder / name).is_file():
                continue  # older runs have no record of their data
            try:
                records = [read_mapping(Path(get(filename=name, local_dir=elsewhere))), read_mapping(folder / name)]
                first, second = (record if keys is None else [record.get(key) for key in keys] for record in records)
                same = first == second
            except RunError:
                same = False
            if not same:
                raise RunError(
                    f"{PREFIX}{repository} holds a run {what}: push to another repository, or replace it with "
                    "--overwrite"
                )


def check_repository(name: str) -> None:
    """Check the name of a repository, which also becomes a folder in the cache.

    Raises:
        RunError: if it is not ``owner/name``.
    """
    if not _REPOSITORY.fullmatch(name) or len(name) > 200:
        raise RunError(f"{name!r:.80} is no repository: expected owner/name")


def _checked(address: str, sizes: dict[str, int | None]) -> dict[str, int]:
    """The names and sizes of a run's files among those of a repository."""
    if missing := [name for name in DESCRIBED if name not in sizes]:
        raise RunError(f"{address} holds no run: {', '.join(missing)} missing")
    checked = {}
    for name in (name for name in SHARED if name in sizes):
        most = LARGEST if name in DESCRIPTIONS else LARGEST_TABLE if name in TABLES else _LARGEST_WEIGHTS
        size = sizes[name]
        if size is None or size > most:
            raise RunError(f"{address} is refused: its {name} may have up to {most:,} bytes; got {size}")
        checked[name] = size
    return checked


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("pyro-models")) / "hub"


@contextmanager
def _plain_errors(address: str) -> Iterator[None]:
    """Say in one line what went wrong on the Hub."""
    if find_spec("huggingface_hub") is None:
        raise RunError(f"{address} needs huggingface_hub: install it with pip install huggingface_hub")
    from huggingface_hub import constants, errors

    try:
        yield
    except RunError:
        raise
    except errors.GatedRepoError as error:
        raise RunError(f"{address} asks for consent: give it on its page at {constants.ENDPOINT}") from error
    except errors.RepositoryNotFoundError as error:
        raise RunError(
            f"{address} is not on {constants.ENDPOINT}, or it is private: check the name, and log in (hf auth login)"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise RunError(f"{address} has no such revision: expected a branch, a tag or a commit after the @") from error
    except Exception as error:  # its HTTP library has changed over the versions
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403) or isinstance(error, errors.LocalTokenNotFoundError):
            raise RunError(f"{constants.ENDPOINT} refused {address}: log in (hf auth login) as its owner") from error
        if status == 412:
            raise RunError(f"{address} was changed by someone else meanwhile: look at it, and push again") from error
        if isinstance(error, OSError) and (error.filename or error.errno in _OF_DISKS):
            raise RunError(f"{address} stopped at this machine's disk: {error}") from error
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RunError(f"{constants.ENDPOINT} cannot be reached or gave no answer for {address}: {first}") from error
