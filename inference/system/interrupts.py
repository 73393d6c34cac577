"""Defer Ctrl-C and SIGTERM to a point where nothing is half done."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from tqdm import tqdm

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SECONDS_UNTIL_SAID = 5.0  # most steps end sooner; one that is compiled may take minutes


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and has saved its state.

    Args:
        message: one line.
        signum: the signal that it received.
    """

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signum = signum


class Interrupts:
    """The signal that has been received, if any."""

    signum: int | None = None


@contextmanager
def noted_interrupts(enabled: bool = True, quiet: bool = False) -> Iterator[Interrupts]:
    """Only note the first SIGINT or SIGTERM inside this context; a second one acts as usual.

    If nothing has ended some seconds later, a line on stderr says what is waited for, unless quiet.  Signals are
    left alone if not enabled, and outside the main thread, where Python handles none.
    """
    interrupts = Interrupts()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    said = threading.Timer(_SECONDS_UNTIL_SAID, _say)
    said.daemon = True
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: a handler not set from Python

    def note(signum: int, frame: FrameType | None) -> None:
        interrupts.signum = signum
        restore()
        if not quiet:
            said.start()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield interrupts
    finally:
        said.cancel()
        restore()


def _say() -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # a closed pipe must not end the work
            tqdm.write(
                "stopping after this step, and its compilation if any; a second Ctrl-C stops at once", sys.stderr
            )
