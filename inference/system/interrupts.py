"""Defer Ctrl-C and SIGTERM to a point where nothing is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
def noted_interrupts(enabled: bool = True) -> Iterator[Interrupts]:
    """Only note the first SIGINT or SIGTERM inside this context; a second one acts as usual.

    Signals are left alone if not enabled, and outside the main thread, where Python handles none.
    """
    interrupts = Interrupts()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: a handler not set from Python

    def note(signum: int, frame: FrameType | None) -> None:
        interrupts.signum = signum
        restore()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield interrupts
    finally:
        restore()
