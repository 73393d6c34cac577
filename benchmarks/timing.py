"""Times of several programs side by side: interleaved, so that what slows the machine slows them all."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from inference import describe_environment


@dataclass(frozen=True)
class Times:
    """Seconds of one call: the median over repeats and the quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Times":
        low, median, high = statistics.quantiles(seconds, n=4)
        return cls(median, low, high)


def side_by_side(programs: dict[str, Callable[[], object]], repeats: int, warm_up: int = 2) -> dict[str, Times]:
    """Times of each program, called by turns: every repeat calls each once, in turning order.

    Raises:
        ValueError: if there are fewer than 2 repeats.
    """
    if repeats < 2:
        raise ValueError(f"repeats must be at least 2; got {repeats}")
    names = list(programs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for repeat in tqdm(range(-warm_up, repeats), disable=None, leave=False):
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            started = time.perf_counter()
            programs[name]()
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - started)
    return {name: Times.of(values) for name, values in seconds.items()}


def group_record(what: str, times: dict[str, Times], reference: str) -> dict[str, object]:
    """One group as it is saved: milliseconds, and the ratio to a reference program of the same run."""
    return {
        "what": what,
        "reference": reference,
        "programs": {
            name: {
                "milliseconds": round(1000 * t.median, 3),
                "quartiles": [round(1000 * t.low, 3), round(1000 * t.high, 3)],
                "ratio": round(t.median / times[reference].median, 3),
            }
            for name, t in times.items()
        },
    }


def print_group(record: dict) -> None:
    print(f"\n{record['what']}")
    for name, entry in sorted(record["programs"].items(), key=lambda item: item[1]["milliseconds"]):
        low, high = entry["quartiles"]
        print(f"  {name:32s} {entry['milliseconds']:9.2f} ms  [{low:.2f}, {high:.2f}]  {entry['ratio']:6.3f}")


def save(path: Path, groups: list[dict], **more: object) -> None:
    """Write the groups with command, commit, machine and versions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = describe_environment()
    kept = {key: environment[key] for key in ("command", "started", "commit", "machine", "platform")}
    path.write_text(json.dumps({**kept, **more, "groups": groups}, indent=2) + "\n")
    print(f"\n{path}")
