"""MNIST, FashionMNIST and scikit-learn's digits, checked as they are loaded."""

import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch

from inference.data.errors import DataError, first_line
from inference.data.images import Images
from inference.data.splits import split
from inference.data.tables import TABLES
from inference.data.torchvision_ops import import_torchvision
from inference.data.vectors import Vectors

# md5 of the uncompressed files; torchvision itself verifies those that it downloads
_MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_LARGEST_FILE = 10**8  # bytes
_SIZES = {"train": 60_000, "test": 10_000}


def default_data_root() -> Path:
    """``$PYRO_MODELS_DATA`` if set, otherwise the user's cache folder."""
    if "PYRO_MODELS_DATA" in os.environ:
        return Path(os.environ["PYRO_MODELS_DATA"])
    import platformdirs

    return Path(platformdirs.user_cache_dir("pyro-models"))


@overload
def load_dataset(
    name: Literal["mnist", "fashion_mnist", "digits"], root: Path | str | None = None
) -> tuple[Images, Images]: ...
@overload
def load_dataset(
    name: Literal["moons", "circles", "swiss_roll", "wine", "breast_cancer"], root: Path | str | None = None
) -> tuple[Vectors, Vectors]: ...
@overload
def load_dataset(name: str, root: Path | str | None = None) -> tuple[Any, Any]: ...
def load_dataset(name: str, root: Path | str | None = None) -> tuple[Any, Any]:
    """The training and the test set of a name.

    Images, as grey levels: "mnist" and "fashion_mnist" are 28x28 with 256 levels, 60,000 and 10,000 images, which
    torchvision downloads into ``root`` if they are missing; "digits" is 8x8 with 17 levels, 1,438 and 359 images, and
    comes with scikit-learn.

    Vectors of float32, not standardised, from scikit-learn: "moons", "circles" and "swiss_roll" are 10,000 and 2,000
    points of the plane, with normal noise of standard deviation 0.1, 0.05 and 0.5, the first two with the curve as
    label; "wine" has 13 measurements of 178 wines, "breast_cancer" 30 of 569 tumours, a tenth of them for testing.

    Raises:
        ValueError: if the name is unknown.
        DataError: if the files are missing and cannot be downloaded, or are damaged.

    Example:
        >>> from inference import load_dataset
        >>> train, test = load_dataset("moons")
        >>> train.values.shape, len(test)
        (torch.Size([10000, 2]), 2000)
    """
    if name in DATASETS:
        return DATASETS[name](Path(root).expanduser() if root else default_data_root())
    if name not in TABLES:
        raise ValueError(f"unknown data set {name!r}: expected one of {', '.join((*DATASETS, *TABLES))}")
    table, more = TABLES[name]()
    sets = split(table, 0.1, seed=0) if more is None else (table, more)
    train, test = (replace(data, values=data.values.to(torch.float32)) for data in sets)
    return train, test


def _mnist(root: Path) -> tuple[Images, Images]:
    return _from_torchvision("MNIST", root, _MNIST_MD5)


def _fashion_mnist(root: Path) -> tuple[Images, Images]:
    return _from_torchvision("FashionMNIST", root, {})


def _digits(root: Path) -> tuple[Images, Images]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    # every fifth image, so that both splits hold all writers
    held_out = torch.arange(len(pixels), device="cpu") % 5 == 4
    return (
        Images("digits train", pixels[~held_out], labels[~held_out], levels=17),
        Images("digits test", pixels[held_out], labels[held_out], levels=17),
    )


DATASETS: dict[str, Callable[[Path], tuple[Images, Images]]] = {
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "digits": _digits,
}


def is_there(name: str, root: Path | str) -> bool:
    """Whether a folder holds a data set, so that nothing needs downloading."""
    folder = Path(root).expanduser() / {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}.get(name, "") / "raw"
    return name == "digits" or all((folder / file).is_file() for file in _MNIST_MD5)


def _from_torchvision(class_name: str, root: Path, md5: dict[str, str]) -> tuple[Images, Images]:
    import_torchvision()
    import torchvision.datasets

    # ignore what earlier releases left in "processed", which torchvision would unpickle
    plain = {"_check_legacy_exist": lambda _: False}
    dataset_class = type(class_name, (getattr(torchvision.datasets, class_name),), plain)
    folder = root / class_name / "raw"
    _download_if_missing(dataset_class, root, folder)
    for file_name in _MNIST_MD5:
        if not _is_whole(folder / file_name, md5.get(file_name)):
            raise DataError(
                f"{folder / file_name} is damaged: its checksum is not that of {class_name}; "
                "remove it and run again to download it anew"
            )
    return _split(dataset_class, root, folder, train=True), _split(dataset_class, root, folder, train=False)


def _is_whole(file: Path, md5: str | None) -> bool:
    """Whether a file has the given checksum or, if none is known, the content of the archive beside it."""
    if file.stat().st_size > _LARGEST_FILE:
        return False
    content = file.read_bytes()
    if md5 is not None:
        return hashlib.md5(content).hexdigest() == md5
    archive = file.with_name(f"{file.name}.gz")  # torchvision has verified it, and keeps it
    try:
        if not archive.is_file():
            return True
        with gzip.open(archive) as whole:
            return whole.read(len(content) + 1) == content
    except (OSError, EOFError, zlib.error):
        return False


def _download_if_missing(dataset_class: Any, root: Path, folder: Path) -> None:
    names = [Path(name).stem for name, _ in dataset_class.resources]
    if all((folder / name).is_file() for name in names):
        return
    try:
        _download(dataset_class, root, folder)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{dataset_class.__name__} is not in {root} and could not be downloaded ({first_line(error)}); "
            "give its folder with --data_root, or use --dataset digits, which needs no download"
        ) from error


def _download(dataset_class: Any, root: Path, folder: Path) -> None:
    """Download to a new folder, then move the files: in an old one torchvision would follow links."""
    root.mkdir(parents=True, exist_ok=True)
    for place in (folder.parent, folder):
        if place.is_symlink():
            raise OSError(f"{place} is a symbolic link")
    with tempfile.TemporaryDirectory(prefix=".new-", dir=root) as new:
        raw = Path(new) / dataset_class.__name__ / "raw"
        raw.mkdir(parents=True)
        for archive in (folder / name for name, _ in dataset_class.resources):
            if archive.is_file() and not archive.is_symlink():
                shutil.copyfile(archive, raw / archive.name)
        dataset_class(new, download=True)
        folder.mkdir(parents=True, exist_ok=True)
        for file in raw.iterdir():
            file.replace(folder / file.name)


def _split(dataset_class: Any, root: Path, folder: Path, train: bool) -> Images:
    split = "train" if train else "test"
    try:
        dataset = dataset_class(root, train=train)
    except Exception as error:  # on a damaged file torchvision raises whatever its parser hits
        raise DataError(
            f"the {split} files in {folder} are damaged ({first_line(error)}); "
            "remove them and run again to download them anew"
        ) from error
    labels = dataset.targets.long()
    images = Images(f"{dataset_class.__name__} {split}", dataset.data[:, None], labels, levels=256)
    expected = (_SIZES[split], 1, 28, 28)
    if images.pixels.shape != expected or not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        raise DataError(
            f"the {split} files in {folder} are not those of {dataset_class.__name__}: images of shape "
            f"{tuple(images.pixels.shape)} where {expected} was expected, or labels outside 0 to 9"
        )
    return images
