"""Tables of numbers in CSV files: delimiter, header, and a column of labels."""

import csv
import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain, islice

import numpy as np

from inference.data.errors import DataError, first_line

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_LOOKED_AT = 20  # rows, for the delimiter
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


@dataclass(frozen=True)
class Table:
    """The numbers of a CSV file.

    Args:
        values: (N, D) float64.
        labels: (N,) int64, if a column of labels was asked for.
        classes: the texts that the labels number, in sorted order; None if they were numbers.
        columns: the names of the D columns, if the file has a header.
        delimiter: what separates columns.
        notes: what may be other than it looks, in words.
    """

    values: np.ndarray
    labels: np.ndarray | None
    classes: list[str] | None
    columns: list[str] | None
    delimiter: str
    notes: list[str]


def read_csv(file: BufferedReader, where: str, label_column: str | None = None) -> Table:
    """The table in a CSV file, with or without a header.

    Args:
        file: UTF-8 text; commas, semicolons or tabs separate its columns.
        where: its name, for messages.
        label_column: the name of the column of labels, or its number, counted from 1.

    Raises:
        DataError: if it cannot be read; the message names the row (the line of the file) and the column.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        file.seek(0)
        if b"\0" in file.read(1 << 16):
            raise DataError(f"{where} is not text, as a .csv file must be (save it as UTF-8)")
        file.seek(0)
        return _table(text, where, label_column)
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} cannot be read as a .csv file in UTF-8 ({first_line(error)})") from error
    finally:
        text.detach()  # the file stays open


def _table(text: io.TextIOWrapper, where: str, label_column: str | None) -> Table:
    delimiter = _delimiter(text, where)
    text.seek(0)
    rows = _rows(text, delimiter)
    first, line = next(rows, ([], 0))
    if not first:
        raise DataError(f"{where} is empty: expected a line for each vector, and a header if you like")
    columns = _header(first, label_column, where)
    label = _label_index(first, columns, label_column, where)
    if columns is None:
        rows = chain([(first.copy(), line)], rows)
    numbers, labels = array("d"), []
    for row, line in rows:
        if len(row) != len(first):
            raise DataError(f"{where}, row {line}: {len(row)} columns, but the first row has {len(first)}")
        if label is not None:
            labels.append(_label(row.pop(label), where, line, label))
        try:
            numbers.extend(map(_number, row))
        except ValueError:
            raise _not_a_number(row, where, line, label) from None
    width = len(first) - (label is not None)
    if not numbers:
        raise DataError(f"{where} holds {'labels alone' if not width else 'a header and no rows'}")
    if columns is not None and label is not None:
        columns = columns[:label] + columns[label + 1 :]
    values = np.array(numbers).reshape(-1, width)
    labels_found, classes = _numbered(labels, where, label)
    table = Table(values, labels_found, classes, columns, delimiter, [])
    table.notes.extend(_doubts(table, labels))
    return table


def _doubts(table: Table, labels: list[str]) -> Iterator[str]:
    """What a table may be other than it looks."""
    values, count = table.values, len(table.values)
    for d in range(values.shape[1] if count > 2 else 0):
        if values[0, d] in (0, 1) and (values[:, d] - values[0, d] == np.arange(count)).all():
            name = _shown(table.columns[d]) if table.columns else f"{d + 1} of the numbers"
            yield f"column {name} counts the rows: remove it if it is not a measurement"
    if table.columns is not None:
        return
    if table.delimiter == "," and values.shape[1] == 2 and not labels and (values == np.round(values)).all():
        yield "two columns of whole numbers: if these are decimal commas, save the numbers with points"
    if table.classes is not None and labels.count(labels[0]) == 1 < count:
        yield f"the first row alone is of class {_shown(labels[0])}: remove it if it is a header"


def _rows(text: io.TextIOWrapper, delimiter: str) -> Iterator[tuple[list[str], int]]:
    """The rows that are not blank, each with its line in the file."""
    reader = csv.reader(text, delimiter=delimiter)
    for row in reader:
        if row:
            yield row, reader.line_num


def _delimiter(text: io.TextIOWrapper, where: str) -> str:
    """What separates the columns: the only delimiter that splits the first rows into equally many, more than one."""
    lines = list(islice(text, _LOOKED_AT))
    widths = {mark: [len(row) for row in csv.reader(lines, delimiter=mark) if row] for mark in DELIMITERS}
    even = [mark for mark, found in widths.items() if found and found[0] > 1 and len(set(found)) == 1]
    if len(even) > 1:
        names = " and ".join(DELIMITERS[mark] for mark in even)
        raise DataError(f"{where}: {names} could each separate its columns: keep one (numbers have decimal points)")
    return even[0] if even else max(widths, key=lambda mark: (widths[mark] or [0])[0])


def _header(first: list[str], label_column: str | None, where: str) -> list[str] | None:
    """The names of the columns, if the first row holds them: texts in all columns but that of the labels."""
    asked = label_column is not None and label_column.isdecimal()
    label = int(label_column) - 1 if label_column is not None and asked else None
    others = [cell for i, cell in enumerate(first) if i != label]
    numeric = [_is_number(cell) for cell in others]
    names = [cell.strip() for cell in first]
    if all(numeric) and others:
        counted = [str(i) for i in range(len(first) + 1)]
        if len(first) > 1 and names in (counted[:-1], counted[1:]):
            raise DataError(
                f"{where}: the first row counts the columns: remove it, or give the columns names that are no numbers"
            )
        return None
    if not any(numeric) and names.count("") == 1 and len(names) > 1:
        raise DataError(
            f"{where}, row 1: column {names.index('') + 1} has no name: remove the column if it counts the rows, or "
            "give it a name"
        )
    if any(numeric) or (others and "" in names):
        column = next(i for i, cell in enumerate(first) if i != label and not _is_number(cell)) + 1
        raise DataError(
            f"{where}, row 1, column {column}: {_shown(first[column - 1])} among numbers: expected names for all "
            f"columns, or numbers in all (--label_column {column} if these are labels)"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: two columns have the name {_shown(twice)}")
    return names


def _label_index(first: list[str], columns: list[str] | None, label_column: str | None, where: str) -> int | None:
    if label_column is None:
        return None
    if columns is not None and label_column in columns:
        return columns.index(label_column)
    if label_column.isdecimal() and 1 <= int(label_column) <= len(first):
        return int(label_column) - 1
    known = f": its columns are {_shown(', '.join(columns))}" if columns else f": it has {len(first)}, and no header"
    raise DataError(f"{where} has no column {_shown(label_column)}{known}")


def _number(cell: str) -> float:
    """A finite number; Python's own underscores within one are not accepted."""
    number = float(cell)
    if "_" in cell or number - number != 0:
        raise ValueError(cell)
    return number


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _not_a_number(row: list[str], where: str, line: int, label: int | None) -> DataError:
    place = next(i for i, cell in enumerate(row) if not _is_number(cell))
    cell, column = row[place].strip(), place + 1 + (label is not None and place >= label)
    if cell.lower() in _MISSING:
        what = f"a value is missing ({_shown(cell)}): remove the row or fill it in"
    else:
        hint = "" if label is not None else f" (--label_column {column} if these are labels)"
        what = f"{_shown(cell)} is not a finite number{hint}"
    return DataError(f"{where}, row {line}, column {column}: {what}")


def _label(cell: str, where: str, line: int, label: int) -> str:
    cell = cell.strip()
    if cell.lower() in _MISSING:
        raise DataError(f"{where}, row {line}, column {label + 1}: a label is missing ({_shown(cell)})")
    return cell


def _numbered(labels: list[str], where: str, label: int | None) -> tuple[np.ndarray | None, list[str] | None]:
    """Labels as numbers, and their names if they were texts."""
    if label is None:
        return None, None
    are_numbers = {_is_number(cell) for cell in set(labels)}
    if len(are_numbers) > 1:
        text = next(cell for cell in labels if not _is_number(cell))
        raise DataError(f"{where}, column {label + 1}: the label {_shown(text)} is text, and others are numbers")
    if are_numbers == {True}:
        return np.array([float(cell) for cell in labels]), None
    classes = sorted(set(labels))
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[cell] for cell in labels]), classes


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
