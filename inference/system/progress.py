"""Progress of a long job: a bar on a terminal, otherwise a line every half minute."""

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
    """A progress bar on stderr; if that is no terminal, a line every 30 seconds, hence none for quick jobs.

    Only the first of several processes shows it.  Use it in a ``with`` statement; ``update(n)`` counts.

    Args:
        what: the job, in one phrase.
        total: the number of units to do.
        unit: what is counted, in the plural.
        initial: the number of units already done.
        quiet: show nothing at all.
    """

    def __init__(self, what: str, total: int, unit: str, initial: int = 0, quiet: bool = False) -> None:
        self._closed = threading.Event()
        file: Any = sys.stderr
        columns, rows = (
            shutil.get_terminal_size()
        )  # has a default for terminals of unknown size, where tqdm would show nothing
        options: dict[str, Any] = {"mininterval": 0.3, "ncols": columns, "nrows": rows}
        lines = file is not None and not file.isatty()
        if lines:
            # tqdm itself prints nothing then: one update may take longer than the time between lines
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
        """Print a line on stdout, above the bar, and put off the next line of progress by 30 seconds."""
        with self.external_write_mode():
            print(line, flush=True)
        if not self.disable:
            self.last_print_t = self._time()

    def finish(self) -> None:
        """Count the job as done, though fewer units were needed than planned."""
        self.total = self.n

    def counting(self, weigh: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Wrap a function that computes importance weights, so that the bar counts each weight."""

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
            if self._time() >= self.last_print_t + _SECONDS_BETWEEN_LINES:  # nothing was printed meanwhile
                self.last_print_t = self._time()
                self.refresh()


class _Lines:
    """A file to which tqdm writes plain lines, without the control characters that overwrite them on a terminal."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):  # a closed pipe must not end the work
            if text.strip():
                self._file.write(f"{text.strip()}\n")

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()
