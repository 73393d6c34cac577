"""Ctrl-C while the libraries are still being imported ends a script in one line, as it does later.

To be imported before all that is slow to import.  An exception would not do: libraries catch it.
"""

import os
import signal
import sys

import _streams


def end_at_once(*_: object) -> None:
    print(f"{os.path.basename(sys.argv[0])}: error: interrupted", file=sys.stderr, flush=True)
    os._exit(130)  # half imported libraries cannot shut down


def raise_again() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, as Python has it."""
    if signal.getsignal(signal.SIGINT) is end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if os.path.dirname(os.path.abspath(sys.argv[0])) == os.path.dirname(os.path.abspath(__file__)):  # a script of ours runs
    _streams.open_missing()
    signal.signal(signal.SIGINT, end_at_once)
