"""How far a long job has come: a bar on a terminal, elsewhere a line every half minute."""

import math
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from torch import Tensor
from tqdm import tqdm

from inference.system.processes import rank_and_size

_SECONDS_BETWEEN_LINES = 30.0


class Bar(tqdm):
    """A progress bar on stderr; where that is no terminal, a line every 30 seconds, and so none for quick jobs.

    Of several processes only the first shows it.  To be used in a ``with`` statement; ``update(n)`` counts.

    Args:
        what: is being done, one phrase.
        total: how much there is to do.
        unit: what is counted, in the plural.
        initial: how much of it was done before.
        quiet: show nothing at all.
    """

    def __init__(self, what: str, total: int, unit: str, initial: int = 0, quiet: bool = False) -> None:
        self._closed = threading.Event()
        file: Any = sys.stderr
        columns, rows = shutil.get_terminal_size()  # of one that does not say its size: tqdm would show nothing
        options: dict[str, Any] = {"mininterval": 0.3, "ncols": columns, "nrows": rows}
        lines = file is not None and not file.isatty()
        if lines:
            # tqdm itself shows nothing then: a single update may take longer than a line should wait
            options = {"mininterval": math.inf, "delay": math.inf, "smoothing": 0}
            options["bar_format"] = (
                f"{{desc}}: {{percentage:.0f}} %, {{n_fmt}} of {{total_fmt}} {unit}, {{elapsed}} so far, "
                "{remaining} left{postfix}"
            )
            file = _Lines(file)
        super().__init__(
            total=total,
            desc=what,
            unit=f" {unit}",
            unit_scale=total >= 10_000,
            initial=initial,
            file=file,
            disable=quiet or file is None or rank_and_size()[0] > 0,
            **options,
        )
        if lines and not self.disable:
            threading.Thread(target=self._write_lines, daemon=True).start()

    def say(self, line: str) -> None:
        """Print a line on stdout, above the bar.  It is news too: the next line of progress waits 30 seconds more."""
        with self.external_write_mode():
            print(line, flush=True)
        if not self.disable:
            self.last_print_t = self._time()

    def finish(self) -> None:
        """Count all as done, where it was less than might have been."""
        self.total = self.n

    def counting(self, weigh: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """What computes importance weights, so that each is counted here."""

        def counted(count: int, *data: Tensor) -> Tensor:
            log_w = weigh(count, *data)
            self.update(log_w.numel())
            return log_w

        return counted

    def close(self) -> None:
        self._closed.set()
        super().close()

    def _write_lines(self) -> None:
        while not self._closed.wait(max(0.0, self.last_print_t + _SECONDS_BETWEEN_LINES - self._time())):
            if self._time() >= self.last_print_t + _SECONDS_BETWEEN_LINES:  # nothing was said meanwhile
                self.last_print_t = self._time()
                self.refresh()


class _Lines:
    """A file to which tqdm writes whole lines, without the means by which it overwrites them on a terminal."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):  # a reader that has gone must not end the work
            if text.strip():
                self._file.write(f"{text.strip()}\n")

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()
