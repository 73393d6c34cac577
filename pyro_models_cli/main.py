"""How every command runs: one-line errors and exit codes."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inference.system.allocator import keep_freed_memory
from pyro_models_cli.start import end_with_exceptions
from pyro_models_cli.streams import lasting_streams
from pyro_models_cli.words import one_line


def main(function: Callable[[], None]) -> None:
    """Run a command: bad values exit with 2, failures with 1, each with one line and no traceback.

    ``PYRO_MODELS_DEBUG=1`` shows tracebacks.
    """
    end_with_exceptions()
    keep_freed_memory()
    with lasting_streams() as out, _warnings_in_one_line():
        try:
            check_arguments_are_text()
            function()
            out.check()
        except KeyboardInterrupt as stop:
            _stop(128 + getattr(stop, "signum", signal.SIGINT), str(stop) or "interrupted")
        except (ValueError, TypeError, NotImplementedError) as error:
            _stop(2, error)
        except (OSError, RuntimeError, ArithmeticError) as error:
            _stop(1, error)
        except Exception as error:  # from a user's own parts, or a bug of ours
            _stop(1, error, f"{type(error).__name__}: {error} (PYRO_MODELS_DEBUG=1 shows where)")


def check_arguments_are_text() -> None:
    """Check that what was typed can be written to a run's files.

    Raises:
        ValueError: if not; some libraries cannot even open files with such names.
    """
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{argument!r} is not valid UTF-8: rename the file or folder") from error


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    before = warnings.showwarning
    warnings.showwarning = _warn
    try:
        yield
    finally:
        warnings.showwarning = before


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"{Path(sys.argv[0]).name}: warning: {one_line(str(message))}", file=sys.stderr)


def _stop(code: int, reason: BaseException | str, message: str | None = None) -> None:
    if os.environ.get("PYRO_MODELS_DEBUG") and isinstance(reason, BaseException):
        raise reason
    text = (message or str(reason)).partition("Trace Shapes:")[0]  # Pyro adds pages
    print(f"{Path(sys.argv[0]).name}: error: {one_line(text)}", file=sys.stderr)
    sys.exit(code)
