"""Data by a name, a file, a folder or a function of one's own: what it is is recognised, or asked for in one line."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch

from inference.data import mapped
from inference.data.array_sets import ARRAYS, labels_of, of_arrays, with_labels, with_x
from inference.data.arrays import npz_headers, read_header, read_npy, read_npz
from inference.data.csv_table import DELIMITERS, read_csv
from inference.data.datasets import DATASETS, load_dataset
from inference.data.errors import DataError, first_line, visible
from inference.data.files import open_file, sha256_of, size_of
from inference.data.images import Images
from inference.data.layouts import layout_of
from inference.data.mapped import are_finite
from inference.data.pictures import open_pictures
from inference.data.protocol import DataSet
from inference.data.reading import Found, Reading
from inference.data.records import check_same, described, lines_of, sha256_of_data
from inference.data.splits import split
from inference.data.tables import GENERATED, TABLES
from inference.data.vectors import Vectors, check_float32, standardise
from inference.system.imports import imported, is_import_path

__all__ = ["Opened", "Reading", "check_same", "kind_of", "names_function", "open_data"]

Kind = Literal["images", "vectors"]
Sort = Literal["name", "npz", "npy", "csv", "folder", "function"]

_DEFAULT = Reading()
_OTHER_FILES = {  # names of files, which are no functions when the file is missing
    *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".pt", ".pth", ".pkl", ".pickle", ".safetensors", ".ckpt"),
    *(".h5", ".hdf5", ".hdf", ".mat", ".parquet", ".arrow", ".feather", ".tfrecord", ".db", ".sqlite", ".xls", ".xlsx"),
    *(".txt", ".tsv", ".dat", ".bin", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".arff", ".idx", ".ubyte"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".py", ".ipynb"),
}
_OPTIONS: dict[Sort, tuple[str, ...]] = {  # options for one sort of source only
    "name": (),
    "npz": ("layout", "levels"),
    "npy": ("layout", "levels"),
    "csv": ("label_column",),
    "folder": ("image_size", "channels"),
    "function": (),
}


@dataclass(frozen=True)
class Opened:
    """Data that were opened.

    Args:
        train: the training set.
        test: the test set, if there is one.
        record: what was understood, in plain values that a YAML or JSON file can keep.
    """

    train: DataSet
    test: DataSet | None
    record: dict[str, Any]

    def lines(self) -> list[str]:
        """What was understood, in words: a few lines to print."""
        return lines_of(self.record)


def open_data(
    source: str, reading: Reading = _DEFAULT, root: Path | str | None = None, allow: Sequence[str] | None = None
) -> Opened:
    """A training set and, if possible, a test set, from whatever ``source`` names.

    Args:
        source: a name that :func:`~inference.load_dataset` knows; a .npz file of ``x`` and optional ``y``, ``x_test``
            and ``y_test``; a .npy file of ``x``; a .csv file; a folder of pictures, flat or with one folder a class, or
            with folders ``train`` and ``test`` of these; or the import path of a function without arguments, which
            returns a data set or a pair of them, (train, test).
        reading: what to assume where the data leave it open.
        root: the folder of data sets by name.
        allow: packages whose functions may be imported; by default any.

    Raises:
        DataError: if the data cannot be read or understood.
        ValueError: if ``source`` names nothing, its function may not be imported, or an option does not apply to it.

    Example:
        >>> from inference import Reading, open_data
        >>> opened = open_data("wine", Reading(test_fraction=0.2))
        >>> len(opened.train), len(opened.test), opened.record["shape"]
        (142, 36, [13])
        >>> print(opened.lines()[0])
        wine: 142 training and 36 test vectors of 13 numbers (float32, standardised), 3 classes
    """
    sort = _sort_of(source, reading)
    found = _OPENERS[sort](source, reading, root, allow)
    (train, test), origin = _of_same_classes(found.train, found.test), found.origin
    if test is None and reading.test_fraction:
        train, test = split(train, reading.test_fraction, reading.test_seed)
        origin = f"a share of {reading.test_fraction:g}, drawn with seed {reading.test_seed}"
    if isinstance(train, Vectors):
        train, test = _seen_as(train, test, reading)
    path = os.path.abspath(os.path.expanduser(source)) if sort not in ("name", "function") else None
    return Opened(train, test, described(source, path, train, test, found._replace(origin=origin or "none")))


def kind_of(source: str, reading: Reading = _DEFAULT, allow: Sequence[str] | None = None) -> Kind:
    """Whether a source holds images or vectors; of a file only headers are read, but a function is called.

    Raises:
        DataError, ValueError: as :func:`open_data`.
    """
    sort = _sort_of(source, reading)
    if sort == "name":
        return "images" if source in DATASETS else "vectors"
    if sort == "function":
        return "images" if hasattr(_open_function(source, reading, None, allow).train, "levels") else "vectors"
    if sort not in ("npy", "npz"):
        return "vectors" if sort == "csv" else "images"
    with open_file(os.path.expanduser(source)) as file:
        if sort == "npy":
            header = read_header(file, size_of(file), source)
        else:
            header = with_x(npz_headers(file, source, ARRAYS), source)["x"]
    return "vectors" if layout_of(header.shape, header.dtype, reading.layout, source) == "ND" else "images"


def names_function(source: str) -> bool:
    """Whether a source is the import path of a function: no name of data, no folder, and no file, there or not."""
    try:
        return _recognised(source) == "function"
    except (DataError, ValueError):
        return False


def options_of_others(source: str) -> list[str]:
    """Names of the fields of a :class:`Reading` that are for other sorts of sources; none if this one is not there."""
    try:
        return _of_other_sorts(_recognised(source))
    except (DataError, ValueError):
        return []


def _of_other_sorts(sort: Sort) -> list[str]:
    return [name for names in _OPTIONS.values() for name in names if name not in _OPTIONS[sort]]


def _sort_of(source: str, reading: Reading) -> Sort:
    sort = _recognised(source)
    for name in _of_other_sorts(sort):
        if getattr(reading, name) is not None:
            takers = [f"a {'.' if other != 'folder' else ''}{other}" for other in _OPTIONS if name in _OPTIONS[other]]
            raise ValueError(f"--{name} is of {' or '.join(takers)}, and {source} is a {sort}: leave it out")
    return sort


def _recognised(source: str) -> Sort:
    if source in DATASETS or source in TABLES:
        return "name"
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        return "folder"
    suffix = os.path.splitext(path)[1].lower()
    if suffix in (".npz", ".npy", ".csv"):
        return suffix[1:]  # type: ignore[return-value]
    if os.path.lexists(path):
        raise DataError(f"{source} is of no known type: expected a .npz, .npy or .csv file, or a folder of pictures")
    if is_import_path(source) and suffix not in _OTHER_FILES:
        return "function"
    raise ValueError(_nothing_at(source))


def _nothing_at(source: str) -> str:
    folder, name = os.path.split(os.path.expanduser(source))
    there: list[str] = []
    with suppress(OSError):
        there = os.listdir(folder or ".")
    near = get_close_matches(name, [*there, *DATASETS, *TABLES], n=1)
    return (
        f"there is no data set, file or folder {source!r}: expected one of {', '.join((*DATASETS, *TABLES))}, a file "
        "(.npz, .npy, .csv), a folder of pictures, or the import path of a function"
        + (f"; did you mean {os.path.join(os.path.dirname(source), visible(near[0]))}?" if near else "")
    )


def _open_name(source: str, reading: Reading, root: Path | str | None, allow: Any) -> Found:
    if source in DATASETS:
        train, test = load_dataset(source, root)
        return _found(train, test, "the data set's own")
    table, more = TABLES[source]()
    return _found(table, more, "the data set's own" if more else None, hashed=source not in GENERATED)


def _found(train: DataSet, test: DataSet | None, origin: str | None, hashed: bool = True) -> Found:
    digest, size = sha256_of_data(*(data for data in (train, test) if data is not None))
    return Found(train, test, origin, digest if hashed else None, size)


def _open_npz(source: str, reading: Reading, root: Any, allow: Any) -> Found:
    with open_file(os.path.expanduser(source)) as file:
        arrays = with_x(read_npz(file, source, ARRAYS), source)
        return of_arrays(source, reading, **arrays)._replace(sha256=sha256_of(file), size=size_of(file))


def _open_npy(source: str, reading: Reading, root: Any, allow: Any) -> Found:
    path = os.path.expanduser(source)
    with open_file(path) as file:
        size = size_of(file)
        if size <= mapped.MAPPED_ABOVE:
            return of_arrays(source, reading, read_npy(file, source))._replace(sha256=sha256_of(file), size=size)
    rows = mapped.RowFile(path)
    return of_arrays(source, reading, rows)._replace(sha256=rows.sha256, size=size)


def _open_csv(source: str, reading: Reading, root: Any, allow: Any) -> Found:
    with open_file(os.path.expanduser(source)) as file:
        table = read_csv(file, source, reading.label_column)
        labels = labels_of(table.labels, len(table.values), f"the labels of {source}")
        columns = None if table.columns is None else tuple(table.columns)
        values = Vectors(os.path.basename(source), torch.from_numpy(table.values), columns=columns)
        (data,), classes, notes = with_labels([values], [labels])
        layout = f"{DELIMITERS[table.delimiter]}, {'a header' if columns else 'no header: the first row is data'}"
        notes += tuple(table.notes)
        return Found(data, None, None, sha256_of(file), size_of(file), layout, table.classes or classes, notes)


def _of_same_classes(train: DataSet, test: DataSet | None) -> tuple[DataSet, DataSet | None]:
    """The sets with the number of classes of both together, which a part of them may lack."""
    if not isinstance(train, Images | Vectors) or train.labels is None:
        return train, test
    if not isinstance(test, Images | Vectors) or test.labels is None:
        return replace(train, classes=train.num_classes), test
    classes = max(train.num_classes, test.num_classes)
    return replace(train, classes=classes), replace(test, classes=classes)


def _seen_as(train: Vectors, test: DataSet | None, reading: Reading) -> tuple[Vectors, DataSet | None]:
    """Vectors in the type asked for, standardised if asked for and not already."""
    if reading.dtype == "float32" and train.values.dtype == torch.float64:
        check_float32(train)
    sets = [_cast(data, getattr(torch, reading.dtype)) for data in (train, test) if isinstance(data, Vectors)]
    if reading.standardise and train.loc is None and train.scale is None:
        sets = list(standardise(*sets))
    return sets[0], sets[1] if isinstance(test, Vectors) else test


def _cast(data: Vectors, dtype: torch.dtype) -> Vectors:
    values = data.values.to(dtype)
    if not are_finite(values):
        raise DataError(f"{data.name} holds values too large for float32: say --dtype float64")
    loc, scale = (None if part is None else part.to(dtype) for part in (data.loc, data.scale))
    return replace(data, values=values, loc=loc, scale=scale)


def _open_function(source: str, reading: Reading, root: Any, allow: Sequence[str] | None) -> Found:
    """What a function returns: a data set, or a training and a test set."""
    try:
        function = imported(source, allow, "function")
    except ValueError as error:
        module, _, name = source.rpartition(".")
        if isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name == module and "." not in module:
            raise ValueError(
                f"{_nothing_at(source)} (and there is no module {module} with a function {name})"
            ) from error
        raise
    try:
        returned = function()
    except (Exception, SystemExit) as error:  # other people's functions may raise anything
        raise DataError(f"{source}() failed: {type(error).__name__}: {first_line(error)}") from error
    train, test = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    for data in (train, test):
        if not isinstance(data, DataSet) and (data is not None or data is train):
            raise DataError(
                f"{source}() returned {type(data).__name__}: expected a data set, such as inference.Vectors, or a pair "
                "(train, test) of them"
            )
    return _found(train, test, "returned by the function" if test is not None else None)


_OPENERS: dict[Sort, Callable[..., Found]] = {
    "name": _open_name,
    "npz": _open_npz,
    "npy": _open_npy,
    "csv": _open_csv,
    "folder": lambda source, reading, *_: open_pictures(source, reading),
    "function": _open_function,
}
