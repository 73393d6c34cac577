"""Progress of a long job: a bar on a terminal, otherwise a line every half minute."""

import math
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, TextIO

from torch import Tensor
from tqdm import tqdm

from inference.system.processes import rank_and_size

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_JOBS = 5.0  # below this, the second goes on with the half minute of the first


class Bar(tqdm):
    """A progress bar on stderr; if that is no terminal, a line every 30 seconds, hence none for quick jobs.

    Only the first of several processes shows it.  Use it in a ``with`` statement; ``update(n)`` counts.  The time left
    is estimated without what came before the first update, and without the longest one: it may be compilation.

    Args:
        what: the job, in one phrase.
        total: the number of units to do; ``None`` if that is unknown: then the time so far is all that is shown.
        unit: what is counted, in the plural.
        initial: the number of units already done.
        quiet: show nothing at all.
    """

    _last: ClassVar[tuple[float, float]] = -math.inf, 0.0  # when the last bar was closed, and when it last wrote a line

    def __init__(
        self, what: str, total: int | None = None, unit: str = "", initial: int = 0, quiet: bool = False
    ) -> None:
        self._closed = threading.Event()
        self._weights = 0  # so far, of those counted
        self._updated: float | None = None  # when last
        self._since_first = self._longest = 0.0, 0.0  # seconds and units: of all updates but the first, of the longest
        file: Any = sys.stderr
        # has a default for terminals of unknown size, where tqdm would show nothing
        columns, rows = shutil.get_terminal_size()
        options: dict[str, Any] = {"mininterval": 0.3, "ncols": columns, "nrows": rows}
        self._plain = file is not None and not file.isatty()
        if self._plain:
            file = _Lines(file)
            # tqdm itself prints nothing then: one update may take longer than the time between lines
            options = {"mininterval": math.inf, "delay": math.inf, "smoothing": 0}
            options["bar_format"] = (
                f"{{desc}}: {{percentage:.0f}} %, {{n_fmt}} of {{total_fmt}} {unit}, {{elapsed}} so far, "
                "{remaining} left{postfix}"
            )
        if total is None:
            options |= {"bar_format": "{desc}: {elapsed} so far", "leave": False}
        super().__init__(
            total=total,
            desc=what,
            unit=f" {unit}",
            unit_scale=total is not None and total >= 1_000_000,
            initial=initial,
            file=file,
            disable=quiet or file is None or rank_and_size()[0] > 0,
            **options,
        )
        if self.disable:
            return
        closed, said = Bar._last
        if self._plain and self.start_t - closed < _SECONDS_BETWEEN_JOBS:
            self.last_print_t = said
        if self._plain or total is None:
            threading.Thread(target=self._write_lines, daemon=True).start()

    @property
    def format_dict(self) -> dict[str, Any]:
        shown = super().format_dict
        if self._plain and self._updated is not None:
            (seconds, units), (longest, at_once) = self._since_first, self._longest
            if units > at_once:
                seconds, units = seconds - longest, units - at_once
            shown["rate"] = units / seconds if seconds else None
            if not units:
                shown["initial"] = self.n  # so that the first update gives no rate either
        return shown

    def update(self, n: float | None = 1) -> bool | None:
        shown = super().update(n)
        if self.disable:
            return shown
        now, before = self._time(), self._updated
        self._updated = now
        if before is not None:
            latest = now - before, float(n or 0)
            self._since_first = self._since_first[0] + latest[0], self._since_first[1] + latest[1]
            self._longest = max(self._longest, latest)
        return shown

    def say(self, line: str) -> None:
        """Print a line on stdout, above the bar, and put off the next line of progress by 30 seconds."""
        with self.external_write_mode():
            print(line, flush=True)
        if not self.disable:
            self.last_print_t = self._time()

    def finish(self) -> None:
        """Count the job as done, though fewer units were needed than planned."""
        self.total = self.n

    def counting(self, weigh: Callable[..., Tensor], of_each: int = 1) -> Callable[..., Tensor]:
        """Wrap a function that computes importance weights, so that the bar counts what has ``of_each`` of them."""

        def counted(count: int, *data: Tensor) -> Tensor:
            log_w = weigh(count, *data)
            before, self._weights = self._weights, self._weights + log_w.numel()
            self.update(self._weights // of_each - before // of_each)
            return log_w

        return counted

    def close(self) -> None:
        self._closed.set()
        if self._plain and not self.disable:
            Bar._last = self._time(), self.last_print_t
        super().close()

    def _write_lines(self) -> None:
        between = _SECONDS_BETWEEN_LINES if self._plain else 1.0
        while not self._closed.wait(max(0.0, self.last_print_t + between - self._time())):
            if self._time() >= self.last_print_t + between:  # nothing was printed meanwhile
                self.last_print_t = self._time()
                self.refresh()


class _Lines:
    """A file to which tqdm writes plain lines, without the control characters that overwrite them on a terminal."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):  # a closed pipe must not end the work
            if text.strip():
                self._file.write(text.strip().replace(", ? left", "") + "\n")  # not known yet

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()
