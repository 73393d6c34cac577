"""The record of a run's data, and the check that data still match it."""

import hashlib
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch

from inference.data.datasets import DATASETS
from inference.data.errors import DataError, visible
from inference.data.images import Images
from inference.data.mapped import pieces_of
from inference.data.protocol import DataSet
from inference.data.reading import Found
from inference.data.tables import TABLES
from inference.data.vectors import Vectors
from inference.system.randomness import generators_as_they_were, set_seed

_MOST_COORDINATES = 1000
_MOST_CHARACTERS = 20_000  # of the names of classes: a run's small files hold 100 kB at most
_COMPARED = {
    "kind": "kind",
    "shape": "shape",
    "levels": "number of grey levels",
    "dtype": "type of numbers",
    "num_train": "number of training observations",
    "num_test": "number of test observations",
    "test": "origin of the test set",
    "num_classes": "number of classes",
    "classes": "list of classes",
    "standardised": "standardisation",
    "loc": "mean of the training set",
    "scale": "standard deviation of the training set",
    "sha256": "SHA-256",
}


def described(source: str, path: str | None, train: DataSet, test: DataSet | None, found: Found) -> dict[str, Any]:
    """The record of data: plain values alone, and short enough for a small YAML or JSON file."""
    sets = [data for data in (train, test) if data is not None]
    labelled = all(getattr(data, "labels", None) is not None for data in sets)
    kept = train if isinstance(train, Vectors) and train.num_dims <= _MOST_COORDINATES else None
    classes = [_plain(name) for name in found.classes or []]
    return {
        "source": _plain(source),
        "path": None if path is None else _plain(path),
        "kind": "images" if hasattr(train, "levels") else "vectors",
        "shape": list(train.shape),
        "levels": getattr(train, "levels", None),
        "dtype": str(train.values.dtype).removeprefix("torch.") if isinstance(train, Vectors) else None,
        "layout": found.layout,
        "num_train": len(train),
        "num_test": 0 if test is None else len(test),
        "test": found.origin,
        "num_classes": max(data.num_classes for data in sets) if labelled else 0,
        "classes": classes if classes and sum(map(len, classes)) <= _MOST_CHARACTERS else None,
        "standardised": getattr(train, "scale", None) is not None,
        "loc": None if kept is None or kept.loc is None else _numbers(kept.loc),
        "scale": None if kept is None or kept.scale is None else _numbers(kept.scale),
        "columns": _columns(train),
        "notes": [_plain(note) for note in (*found.notes, *_shared(train, test))],
        "sha256": found.sha256,
        "bytes": found.size,
    }


def check_same(record: dict[str, Any], opened: Any) -> None:
    """Check that data are those of a record.

    Args:
        record: of earlier data, as :func:`~inference.open_data` made it.
        opened: what :func:`~inference.open_data` returned now.

    Raises:
        DataError: if they are not.
    """
    now = opened.record
    for name, words in _COMPARED.items():
        if name not in record:
            raise DataError(f"the record of the data is damaged: {name} missing")
        if not _same(name, record, now):
            raise DataError(
                f"{now['source']} does not hold the data of this run: the {words} was {_short(record[name])}, and is "
                f"{_short(now[name])} now"
            )


def _same(name: str, record: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether an entry is the same, means and deviations up to a millionth of the deviation."""
    old, new = record[name], now[name]
    if name not in ("loc", "scale") or not isinstance(old, list) or not isinstance(new, list):
        return json.dumps(old) == json.dumps(new)
    units = now["scale"] or [0.0] * len(new)
    return len(old) == len(new) and all(
        isinstance(a, int | float) and abs(a - b) <= 1e-6 * max(abs(b), unit)
        for a, b, unit in zip(old, new, units, strict=True)
    )


def _columns(train: DataSet) -> list[str] | None:
    columns = [_plain(name) for name in train.columns or ()] if isinstance(train, Vectors) else []
    return columns if columns and len(json.dumps(columns)) <= _MOST_CHARACTERS // 2 else None


def _shared(train: DataSet, test: DataSet | None) -> Iterator[str]:
    """How many observations of the test set are also in the training set, if any are; not of files of rows."""
    trained_on, tested_on = _values(train), _values(test)
    if trained_on is None or tested_on is None:
        return
    tested = [row for piece in pieces_of(tested_on) for row in _rows(piece)]
    distinct, shared = set(tested), set[bytes]()
    for piece in pieces_of(trained_on):
        shared |= distinct.intersection(_rows(piece))
    if count := sum(row in shared for row in tested):
        noun = "images" if isinstance(train, Images) else "vectors"
        yield f"{count:,} of the {len(tested):,} test {noun} are also in the training set"


def _rows(piece: torch.Tensor) -> list[bytes]:
    """The bytes of each observation."""
    rows = piece.cpu().flatten(1).contiguous().numpy()
    return rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel().tolist()


def _values(data: DataSet | None) -> torch.Tensor | None:
    """What a data set holds in memory."""
    held = data.pixels if isinstance(data, Images) else data.values if isinstance(data, Vectors) else None
    return held if isinstance(held, torch.Tensor) else None


def lines_of(record: dict[str, Any]) -> list[str]:
    """A record in words."""
    by = " x ".join(map(str, record["shape"]))
    if record["kind"] == "images":
        what, how = f"images of {by}", [f"{record['levels']} levels"]
    else:
        what = f"vectors of {by} numbers" if len(record["shape"]) == 1 else f"observations of shape {by}"
        how = [record["dtype"] or "", "standardised" if record["standardised"] else "as they are"]
    how += [record["layout"] or ""]
    test = f" and {record['num_test']:,} test" if record["num_test"] else ""
    classes = f", {record['num_classes']} classes" if record["num_classes"] else ", no labels"
    if record["classes"]:
        classes += f" ({_short(', '.join(record['classes']))})"
    sha256 = f"; SHA-256 {record['sha256'][:16]}..." if record["sha256"] else ""
    lines = [
        f"{record['source']}: {record['num_train']:,} training{test} {what} ({', '.join(filter(None, how))}){classes}",
        *([] if record["source"] in (*DATASETS, *TABLES) else [f"test set: {record['test']}{sha256}"]),
        *record["notes"],
    ]
    return [visible(line) for line in lines]


def sha256_of_data(*sets: DataSet) -> tuple[str, int]:
    """The SHA-256 and the number of bytes of what data sets hold, or what programs see of a class of one's own."""
    digest, size = hashlib.sha256(), 0
    with generators_as_they_were():
        set_seed(0)
        for part in chain.from_iterable(map(_parts_of, sets)):
            content = part.cpu().contiguous()
            digest.update(f"{content.dtype} {tuple(content.shape)}".encode())
            digest.update(content.numpy().data)
            size += content.nbytes
    return digest.hexdigest(), size


def _parts_of(data: DataSet) -> Iterator[torch.Tensor]:
    if isinstance(data, Images | Vectors):
        yield from pieces_of(data.pixels if isinstance(data, Images) else data.values)
        if data.labels is not None:
            yield data.labels
    else:
        yield from chain.from_iterable(data.batches(1024))


def _numbers(values: torch.Tensor) -> list[float]:
    """Numbers with as many digits as they have."""
    return [float(f"{value:.9g}") for value in values.tolist()] if values.dtype == torch.float32 else values.tolist()


def _plain(text: str) -> str:
    """Text that UTF-8 can encode; the names of files may hold more."""
    return text.encode(errors="backslashreplace").decode()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 70 else f"{text[:67]}..."
