"""Time several programs side by side, interleaved, so that whatever slows the machine slows them all."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

Program = Callable[[], float | None]  # may return its own seconds, to leave out set-up
USUAL, PRECISE = 7, 0.01  # so many repeats suffice for medians known to one per cent


@dataclass(frozen=True)
class Times:
    """Seconds of every call of one program."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.seconds) == 1:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return low, high

    @property
    def uncertainty(self) -> float:
        r"""About the relative standard error of the median, :math:`(q_3 - q_1) / (m \sqrt n)`."""
        low, high = self.quartiles
        return (high - low) / (self.median * math.sqrt(len(self.seconds)))


def side_by_side(programs: Mapping[str, Program], seconds: float, warm_up: int = 2, least: int = 3) -> dict[str, Times]:
    """Time each program once per repeat, in an order that rotates.

    Repeats end when there are seven and every median is known to one per cent, or when the ``least`` number is done
    and they have taken so many ``seconds``.
    """
    names = list(programs)
    found = {name: Times([]) for name in names}
    ends, repeat = math.inf, -warm_up
    with tqdm(disable=None, leave=False, unit=" repeats") as bar:
        while repeat < least or (time.perf_counter() < ends and not _are_known(found.values(), repeat)):
            if repeat == 0:
                ends = time.perf_counter() + seconds
            shift = repeat % len(names)
            for name in names[shift:] + names[:shift]:
                started = time.perf_counter()
                own = programs[name]()
                if repeat >= 0:
                    found[name].seconds.append(own if own is not None else time.perf_counter() - started)
            repeat += 1
            bar.update()
    return found


def _are_known(found: Iterable[Times], repeats: int) -> bool:
    return repeats >= USUAL and all(times.uncertainty < PRECISE for times in found)


@dataclass(frozen=True)
class Group:
    """Programs that do the same work, and comparisons of them.

    Args:
        what: the work.
        times: the times of each program.
        steps: number of steps in one call.
        rows: the comparisons.
        notes: other measurements to record.
    """

    what: str
    times: dict[str, Times]
    steps: int = 1
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def compare(self, ours: str, other: str, goal: float | None = None) -> "Group":
        """Add the ratio of two programs' medians, with the quartiles of the ratios over repeats as its spread."""
        if ours in self.times and other in self.times:
            a, b = self.times[ours], self.times[other]
            paired = Times([x / y for x, y in zip(a.seconds, b.seconds, strict=True)])
            self.rows.append(
                {
                    "name": self.what,
                    "ours": ours,
                    "other": other,
                    "ours_seconds": round(a.median / self.steps, 6),
                    "other_seconds": round(b.median / self.steps, 6),
                    "ratio": round(a.median / b.median, 3),
                    "ratio_quartiles": [round(value, 3) for value in paired.quartiles],
                    "goal": goal,
                }
            )
        return self

    def record(self) -> dict[str, Any]:
        """Milliseconds of every program, as saved."""
        programs = {}
        for name, times in sorted(self.times.items(), key=lambda item: item[1].median):
            low, high = (round(1000 * value / self.steps, 3) for value in times.quartiles)
            programs[name] = {"milliseconds": round(1000 * times.median / self.steps, 3), "quartiles": [low, high]}
        repeats = len(next(iter(self.times.values())).seconds)
        return {"what": self.what, "repeats": repeats, "programs": programs, **self.notes}

    def show(self) -> None:
        record = self.record()
        print(f"\n{self.what}, {record['repeats']} repeats")
        for name, entry in record["programs"].items():
            low, high = entry["quartiles"]
            print(f"  {name:45s} {entry['milliseconds']:10.2f} ms  [{low:.2f}, {high:.2f}]")
        for row in self.rows:
            goal = "" if row["goal"] is None else f" (goal {row['goal']:.2f})"
            print(f"  {row['ours']} / {row['other']}: {row['ratio']:.3f}{goal}")
        for name, value in self.notes.items():
            print(f"  {name}: {value}")
