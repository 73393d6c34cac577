"""The data of a run: how to read them, and how a later command finds the same data again."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_type_hints

from inference import DataError, DataSet, Images, Run, binarise
from inference.data.datasets import is_there
from inference.data.opening import Reading, check_same, kind_of, open_data, options_of_others
from inference.runs.parts import described, fits
from pyro_models_cli.options import ReadingOptions, check_choices, one_of

Kind = Literal["images", "vectors"]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Options of the data.

    Args:
        dataset: mnist, fashion_mnist, digits, moons, circles, swiss_roll, wine or breast_cancer; a .npz, .npy or
            .csv file; a folder of pictures; or the import path of a function that returns data.
        data_root: folder of the data sets; by default $PYRO_MODELS_DATA, else the user's cache folder.
        layout: order of an array's dimensions, if it is not clear: ND for vectors; NHW, NCHW or NHWC for images.
        levels: number of grey levels of images, if it is not clear.
        label_column: column of the labels in a .csv file: its name, or its number, from 1 on.
        image_size: height and width to resize the pictures of a folder to; by default they keep their own.
        channels: 1 makes the pictures of a folder grey, 3 coloured; by default they stay as they are.
        test_fraction: share of the data to test on, if they come without a test set; 0 for no test set.
        test_seed: seed that chooses that share.
        scaling: standardise gives model and guide vectors of mean 0 and standard deviation 1 in each coordinate of the
            training set, none gives them the vectors as they came.  Densities are those of the data as they came.
        dtype: precision of vectors, and of the model and the guide.
    """

    dataset: str = "mnist"
    data_root: str | None = None
    layout: str | None = one_of(("ND", "NHW", "NCHW", "NHWC"), None)
    levels: int | None = None
    label_column: str | None = None
    image_size: Sequence[int] | None = None
    channels: int | None = None
    test_fraction: float = 0.1
    test_seed: int = 0
    scaling: str = one_of(("standardise", "none"), "standardise")
    dtype: str = one_of(("float32", "float64"), "float32")

    @property
    def reading(self) -> Reading:
        """How to read the data."""
        shared = {entry.name for entry in fields(Reading)} & {entry.name for entry in fields(DataOptions)}
        return Reading(standardise=self.scaling == "standardise", **{name: getattr(self, name) for name in shared})


def kind_named(dataset: str | None, layout: str | None = None, allow: Sequence[str] = ()) -> Kind:
    """Whether data are images or vectors, from names and headers alone; the name is that of ``--dataset``.

    Raises:
        ValueError, DataError: if there are no such data.
    """
    return kind_of(dataset or DataOptions.dataset, Reading(layout=layout), allow)


@dataclass(frozen=True)
class Data:
    """What a run trains on and is tested on, as its programs see it.

    Args:
        train: the training data.
        test: the test data, if there are any.
        record: what was understood of them, as a run's data.json keeps it.
        lines: the same in words.
    """

    train: DataSet
    test: DataSet | None
    record: dict[str, Any]
    lines: list[str]

    @property
    def kind(self) -> Kind:
        return "images" if isinstance(self.train, Images) else "vectors"

    @property
    def levels(self) -> int | None:
        """The number of values of a pixel, as programs see it; None for vectors."""
        if not isinstance(self.train, Images):
            return None
        return self.train.levels if self.train.binarisation == "none" else 2

    def shown(self) -> DataSet:
        """The test data, or the training data where there are none, to show beside draws."""
        return self.train if self.test is None else self.test

    def tested(self) -> DataSet:
        """The test data.

        Raises:
            DataError: if there are none.
        """
        if self.test is None:
            raise DataError("these data come without a test set (test_fraction is 0): there is nothing to measure on")
        return self.test


def data_of(
    config: dict[str, Any],
    data_root: str | None = None,
    allow: Sequence[str] = (),
    record: dict[str, Any] | None = None,
) -> Data:
    """The data that a configuration names, binarised and with labels as it says.

    Args:
        config: options of a training.
        data_root: folder of the data sets; by default the configuration's own, if the data are there.
        allow: packages of your own whose functions may be called for the data.
        record: of the data that they must be.

    Raises:
        ValueError, DataError: if they cannot be read, are other data, or cannot be used as the configuration asks.
    """
    options = _options_in(config)
    own = options.data_root
    if not data_root and own and is_there(options.dataset, own):  # never downloaded to: the run may be a stranger's
        data_root = own
    opened = open_data(options.dataset, options.reading, data_root, allow)
    if record is not None:
        check_same(record, opened)
    test = None if opened.test is None else _as_seen(opened.test, config)
    train = _as_seen(opened.train, config)
    how = getattr(train, "binarisation", "none")
    black_and_white = getattr(opened.train, "levels", None) == 2
    seen = [] if how == "none" or black_and_white else [f"seen in black and white, {_SEEN[how]} (--binarisation {how})"]
    return Data(train, test, opened.record, [*opened.lines(), *seen])


def _options_in(config: dict[str, Any]) -> DataOptions:
    """The options of the data in a configuration, which may be a stranger's.

    Raises:
        ValueError: if one cannot be what it is.
    """
    hints = get_type_hints(DataOptions)
    found = {name: config[name] for name in hints if config.get(name) is not None}
    for name, value in found.items():
        if not fits(value, hints[name]):
            raise ValueError(f"the configuration gives {name} as {value!r}: expected {described(hints[name])}")
    options = DataOptions(**found)
    check_choices(options)
    return options


_SEEN = {"dynamic": "drawn anew every time", "static": "drawn once", "threshold": "cut at half the full intensity"}


def _as_seen(data: Any, config: dict[str, Any]) -> DataSet:
    how = config.get("binarisation") or "none"
    if how != "none" and not isinstance(data, Images):
        raise ValueError(f"binarisation {how} is for images, but {data.name} holds vectors: leave the option out")
    if config.get("dtype", "float32") != "float32" and isinstance(data, Images):
        raise ValueError(f"dtype {config['dtype']} is for vectors, but {data.name} holds images: leave the option out")
    if how != "none":
        data = binarise(data, how, config["seed"])
    return replace(data, conditional=True) if config.get("conditional") else data


def data_again(run: Run, options: ReadingOptions) -> Data:
    """The data that a run was trained and tested on.

    Raises:
        DataError: if they are not to be found, or are other data now.
    """
    return data_found(run.config, run.data, options.dataset, options.data_root, options.allow_import)


def data_found(
    config: dict[str, Any],
    record: dict[str, Any] | None,
    elsewhere: str | None,
    data_root: str | None,
    allow: Sequence[str],
) -> Data:
    """The data of a record: ``elsewhere`` if given, else where the configuration or the record say.

    Raises:
        DataError: if they are not to be found, or are other data now.
    """
    typed, path = config["dataset"], (record or {}).get("path")
    places = [elsewhere or typed] if elsewhere or not path else [p for p in (typed, path) if os.path.exists(p)]
    if not places:
        where = f"not in {path}" if typed == path else f"neither in {typed} nor in {path}"
        raise DataError(f"the data of the run are {where}: give their place with --dataset")
    for place in places[:-1]:  # a file of that name here may be another
        try:
            return data_of({**config, "dataset": place}, data_root, allow, record)
        except DataError:
            continue
    config = {**config, "dataset": places[-1]}
    if elsewhere and record is not None:  # check_same says whether these are the data, even of another sort
        config |= dict.fromkeys(options_of_others(elsewhere))
    return data_of(config, data_root, allow, record)
