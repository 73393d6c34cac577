"""How every script runs: one-line errors, exit codes, and what the scripts share on the command line."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_models_cli.start import end_with_exceptions
from pyro_models_cli.streams import lasting_streams
from pyro_models_cli.words import one_line


def main(function: Callable[[], None]) -> None:
    """Run a script: bad values exit with 2, failures with 1, each with one line and no traceback.

    ``PYRO_MODELS_DEBUG=1`` shows tracebacks.
    """
    warnings.showwarning = _warn
    end_with_exceptions()
    with lasting_streams() as out:
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
        except Exception as error:  # from a user's own parts, or a fault of ours
            _stop(1, error, f"{type(error).__name__}: {error} (PYRO_MODELS_DEBUG=1 shows where)")


def check_arguments_are_text() -> None:
    """Make sure that what was typed can be written into a run's files.

    Raises:
        ValueError: if not: some libraries cannot even open files of such names.
    """
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{argument!r} is not valid UTF-8: files and folders need other names") from error


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"{Path(sys.argv[0]).name}: warning: {one_line(str(message))}", file=sys.stderr)


def _stop(code: int, reason: BaseException | str, message: str | None = None) -> None:
    if os.environ.get("PYRO_MODELS_DEBUG") and isinstance(reason, BaseException):
        raise reason
    text = (message or str(reason)).partition("Trace Shapes:")[0]  # Pyro adds pages
    print(f"{Path(sys.argv[0]).name}: error: {one_line(text)}", file=sys.stderr)
    sys.exit(code)
