"""One row of a table from the runs of several seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OverSeeds:
    """A bound, over the runs that estimate it.

    >>> print(OverSeeds.of([{"value": 90.0}, {"value": 91.0}]))
    90.50 ± 0.71
    >>> print(OverSeeds.of([{"value": 90.0, "standard_error_over_images": 0.25}]))
    90.00 (0.25)

    Args:
        value: the mean.
        spread: standard deviation over seeds; None for one.
        over_images: standard error over images, for one seed.
        seeds: how many there are.
    """

    value: float
    spread: float | None
    over_images: float | None
    seeds: int

    @classmethod
    def of(cls, estimates: Sequence[Mapping[str, Any]]) -> "OverSeeds":
        """The mean of estimates on the same images, and its spread."""
        values = [estimate["value"] for estimate in estimates]
        if len(values) > 1:
            return cls(statistics.fmean(values), statistics.stdev(values), None, len(values))
        return cls(values[0], None, estimates[0].get("standard_error_over_images"), 1)

    def __str__(self) -> str:
        return f"{self:.2f}"

    def __format__(self, digits: str) -> str:
        value = format(self.value, digits)
        if self.spread is not None:
            return f"{value} ± {format(self.spread, digits)}"
        return value if self.over_images is None else f"{value} ({format(self.over_images, digits)})"


def by_name(entries: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The entries of every row, in the order of the rows' first; each has the runs of one row, seed by seed.

    Raises:
        ValueError: if two entries of a row have the same seed, or other data or test images.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        rows.setdefault(entry["name"], []).append(entry)
    for name, runs in rows.items():
        if len({run["seed"] for run in runs}) < len(runs):
            raise ValueError(f"two entries of row {name!r} have the same seed")
        if len({tuple(run[key] for key in ("dataset", "binarisation", "num_test_images")) for run in runs}) > 1:
            raise ValueError(f"the entries of row {name!r} are not of the same test images")
    return rows


def bound_of(runs: Sequence[dict[str, Any]], key: str) -> OverSeeds | None:
    """The mean of a bound over the runs that estimate it; None if none does."""
    estimates = [run[key] for run in runs if key in run]
    return OverSeeds.of(estimates) if estimates else None


def bound_text(runs: Sequence[dict[str, Any]], key: str, digits: str) -> str:
    """A bound with its spread; it says so if only some of several seeds estimate it."""
    bound = bound_of(runs, key)
    if bound is None:
        return "-"
    return f"{bound:{digits}}" + (f", {bound.seeds} seeds" if 1 < bound.seeds < len(runs) else "")


def mean_of(runs: Sequence[dict[str, Any]], key: str) -> float | None:
    """The mean of a number over runs; None if one is infinite, for which records have None."""
    values = [run[key] for run in runs]
    return None if None in values else statistics.fmean(values)


def active_of(runs: Sequence[dict[str, Any]]) -> str:
    """Active coordinates out of all, for one latent or two: ``19/40``, or ``19-21/40`` over several seeds."""
    texts = []
    for name, dim in runs[0]["latent_dims"].items():
        used = [run["active_units"][name] for run in runs]
        fewest, most = min(used), max(used)
        texts.append(f"{fewest:d}/{dim:d}" if fewest == most else f"{fewest:d}-{most:d}/{dim:d}")
    return " + ".join(texts)
