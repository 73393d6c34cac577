"""Tables of numbers in a run folder."""

import csv
import io
from pathlib import Path

from inference.runs.folder import RunError

LARGEST_TABLE = 100_000_000  # bytes


def as_csv(rows: list[dict[str, float]]) -> str:
    """Rows as CSV, with the columns of the first."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_rows(file: Path, columns: set[str]) -> list[dict[str, float]]:
    """The rows of a table that has one for each epoch, from the first on; empty if there is no file.

    Raises:
        RunError: if it is not such a table.
    """
    if not file.is_file():
        return []
    if file.stat().st_size > LARGEST_TABLE:
        raise RunError(f"{file} is damaged: no table of a run is larger than {LARGEST_TABLE:,} bytes")
    try:
        with file.open(newline="") as lines:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]
    except (TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{file} is damaged: every row must hold a number for every column") from error
    if rows and not rows[0].keys() >= columns:
        raise RunError(f"{file} is damaged: {', '.join(sorted(columns - rows[0].keys()))} missing")
    if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
        raise RunError(f"{file} is damaged: it must have one row for each epoch 1, 2, ..., in order")
    return rows
