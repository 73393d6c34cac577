"""Standard output and error that never end a command: closed, without a reader, or not UTF-8."""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_SPELLED = {"±": "+/-"}


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell in ASCII what an encoding cannot express."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    spelled = (_SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in characters)
    return "".join(spelled), error.end


codecs.register_error("spelled", _spell)


class Lasting:
    """A stream that accepts everything written, even if it gets lost.

    Args:
        stream: where it goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "spelled").decode(encoding))
        except OSError as error:
            self._fail(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def check(self) -> None:
        """Check that nothing written was lost.

        Raises:
            OSError: if something was, as on a full disk; a reader that has gone does not count.
        """
        self.flush()
        if self.failure is not None and not isinstance(self.failure, BrokenPipeError):
            raise OSError(f"output was lost: standard output cannot be written ({self.failure})")

    def _fail(self, error: OSError) -> None:
        self.failure = self.failure or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())  # the buffer would fail again
        os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_missing() -> None:
    """Open the null device in place of each closed standard stream.

    Otherwise a file of ours would get its number, and with it whatever a library prints.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            os.set_inheritable(null, True)
            if getattr(sys, name) is None:
                setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 (for as long as the command runs)


@contextmanager
def lasting_streams() -> Iterator[Lasting]:
    """Within, printing raises nothing; yields standard output."""
    before = sys.stdout, sys.stderr
    out, err = Lasting(sys.stdout), Lasting(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
