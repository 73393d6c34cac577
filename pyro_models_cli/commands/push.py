"""Share a trained run on the Hugging Face Hub: what it takes to use it, and a page with its recorded numbers."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference import Run
from inference.runs.hub import PREFIX, check_repository, pushed
from inference.runs.sharing import share
from inference.system.files import write_whole
from pyro_models_cli.card import card
from pyro_models_cli.parser import Parser, made


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """Options of the repository.

    Args:
        private: make a new repository private; a public one is refused.
        overwrite: replace a run of another model or on other data, which is refused otherwise; the Hub keeps its
            history.
        dry_run: only show the files and the page, and ask nothing of the Hub.
    """

    private: bool = False
    overwrite: bool = False
    dry_run: bool = False


def push(run: Path | str, repository: str, options: PushOptions | None = None) -> str:
    """Push a run to a repository, created if needed; returns the address of the commit, if there is one.

    Args:
        run: folder of the run.
        repository: ``owner/name``.
        options: of the repository.

    Raises:
        RunError, CheckpointError: if the run cannot be read, or the repository not written.
    """
    options = options or PushOptions()
    repository = repository.removeprefix(PREFIX)
    check_repository(repository)
    opened = Run.open(run)
    with tempfile.TemporaryDirectory() as elsewhere:
        shared = share(opened, Path(elsewhere) / "run")
        write_whole(shared.path / "README.md", card(shared, repository))
        if options.dry_run:
            _show(shared.path)
            return ""
        commit = pushed(shared.path, repository, options.private, options.overwrite)
    print(f"{commit}: load it with inference.load({PREFIX + repository!r})")
    return commit


def _show(folder: Path) -> None:
    """Print what would be shared."""
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        print(f"{file.stat().st_size:>14,} bytes  {file.relative_to(folder)}")
    print(f"\n{(folder / 'README.md').read_text()}", end="")


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("run", type=str, help="folder of a training run")
    parser.add_argument("repository", type=str, help="owner/name on the Hub; it is created if needed")
    parser.add_options(PushOptions)
    given = parser.parse(argv)
    push(given.run, given.repository, made(PushOptions, given))
