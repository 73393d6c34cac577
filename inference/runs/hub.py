"""Runs on the Hugging Face Hub, at ``hf://owner/name`` or ``hf://owner/name@revision``."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inference.runs.folder import DESCRIPTIONS, SHARED, TABLES, RunError
from inference.runs.reading import LARGEST
from inference.runs.tables import LARGEST_TABLE
from inference.system.progress import Bar

PREFIX = "hf://"
_REPOSITORY = re.compile(r"[A-Za-z0-9]\w*([.-]\w+)*/[A-Za-z0-9]\w*([.-]\w+)*", re.ASCII)
_REVISION = re.compile(r"\w+([./-]\w+)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LARGEST_WEIGHTS = 4 * 2**30  # bytes


def place_of(run: Path | str) -> Path:
    """The folder of a run: a path as it is, or that of a copy of ``hf://owner/name``, fetched unless it is there.

    Raises:
        RunError: if it cannot be fetched.
    """
    return fetched(run) if isinstance(run, str) and run.startswith(PREFIX) else Path(run)


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
        names = _checked(address, {file.rfilename: file.size for file in info.siblings or ()})
        if not (home / commit).is_dir():
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home, prefix=".new-") as new, Bar(f"fetching {address}"):
                for name in names:
                    api.hf_hub_download(repository, name, revision=commit, local_dir=Path(new) / "run")
                shutil.rmtree(Path(new) / "run" / ".cache", ignore_errors=True)  # the library's notes
                if not (home / commit).is_dir():
                    (Path(new) / "run").rename(home / commit)
    return home / commit


def pushed(folder: Path, repository: str, private: bool = False) -> str:
    """Make the files of a folder those of a repository, created if needed; returns the address of the commit.

    Files of an earlier run that this one lacks are removed; all others stay.

    Raises:
        RunError: if the repository cannot be written.
    """
    check_repository(repository)
    with _plain_errors(PREFIX + repository):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        there = {file.rfilename for file in api.model_info(repository).siblings or ()}
        stale = there & {*SHARED} - files.keys()
        changes: list[Any] = [
            *(CommitOperationAdd(name, str(file)) for name, file in sorted(files.items())),
            *(CommitOperationDelete(name) for name in sorted(stale)),
        ]
        return str(api.create_commit(repository, changes, commit_message="Share a run of pyro-models").commit_url)


def check_repository(name: str) -> None:
    """Check the name of a repository, which also becomes a folder in the cache.

    Raises:
        RunError: if it is not ``owner/name``.
    """
    if not _REPOSITORY.fullmatch(name) or len(name) > 200:
        raise RunError(f"{name!r:.80} is no repository: expected owner/name")


def _checked(address: str, sizes: dict[str, int | None]) -> list[str]:
    """The names of a run's files among those of a repository."""
    names = [name for name in SHARED if name in sizes]
    missing = [name for name in ("config.yaml", "model.yaml", "environment.json") if name not in sizes]
    if missing:
        raise RunError(f"{address} holds no run: {', '.join(missing)} missing")
    for name in names:
        most = LARGEST if name in DESCRIPTIONS else LARGEST_TABLE if name in TABLES else _LARGEST_WEIGHTS
        size = sizes[name]
        if size is None or size > most:
            raise RunError(f"{address} is refused: its {name} may have up to {most:,} bytes; got {size}")
    return names


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("pyro-models")) / "hub"


@contextmanager
def _plain_errors(address: str) -> Iterator[None]:
    """Say in one line what went wrong on the Hub."""
    if find_spec("huggingface_hub") is None:
        raise RunError(f"{address} needs huggingface_hub: install it with pip install 'pyro-models[hub]'")
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
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RunError(f"{constants.ENDPOINT} cannot be reached or gave no answer for {address}: {first}") from error
