"""Ctrl-C and a scheduler's SIGTERM, obeyed where nothing is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop, and has saved what it had.

    Args:
        message: one line.
        signum: the signal that asked.
    """

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signum = signum


class Interrupts:
    """Which signal has asked to stop, if one has."""

    signum: int | None = None


@contextmanager
def noted_interrupts(enabled: bool = True) -> Iterator[Interrupts]:
    """Within, the first SIGINT or SIGTERM is only noted; a second one acts as ever.

    Outside the main thread, where Python takes no signals, and where not enabled they are left alone.
    """
    interrupts = Interrupts()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not from Python

    def note(signum: int, frame: FrameType | None) -> None:
        interrupts.signum = signum
        restore()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield interrupts
    finally:
        restore()
