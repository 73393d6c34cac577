"""Programs in processes of their own, of this checkout or of an earlier commit, which wait between calls."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

from timing import Program

ROOT = Path(__file__).parents[1]

# answers each line with the seconds of a call of `program`
SERVE = """
import sys
sys.path[:0] = {paths}
from time import perf_counter
{setup}
print("ready", flush=True)
for _ in sys.stdin:
    started = perf_counter()
    program()
    print(perf_counter() - started, flush=True)
"""


@contextmanager
def apart(setup: str, root: Path = ROOT) -> Iterator[Program]:
    """A program in a new process.

    Args:
        setup: Python code that defines ``program``; it imports packages and benchmarks of a checkout.
        root: the checkout.
    """
    code = SERVE.format(paths=[str(root), str(root / "benchmarks")], setup=setup)
    with Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield partial(_answer, process)
        process.communicate()  # ends its input, and so the process


def _answer(process: Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    print(file=process.stdin, flush=True)
    return float(process.stdout.readline())


@contextmanager
def checked_out(commit: str) -> Iterator[Path | None]:
    """The files of an earlier commit in a folder, or None where git does not know it."""
    with TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            print(f"skipping commit {commit}, which git does not know here")
            yield None
            return
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)
