"""Folders of pictures: flat, or with a folder for each class as torchvision's ``ImageFolder``, as one set of images."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from inference.data.errors import DataError, first_line
from inference.data.files import LARGEST, open_file, size_of
from inference.data.images import Images
from inference.data.reading import Found, Reading

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # others may start other programs, as EPS does
_KEPT = ("1", "L", "RGB")  # modes that need no decision
_TURNED = ("LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")  # modes that must be converted
_COLOURS = {"1": "black and white", "L": "grey", "RGB": "coloured"}
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
_MODES = {1: "L", 3: "RGB"}  # by channels


class _Picture(NamedTuple):
    path: str
    label: str | None


def open_pictures(folder: str, reading: Reading) -> Found:
    """The pictures of a folder, in the order of their names; labels are the numbers of the classes, sorted by name.

    Raises:
        DataError: if the folder holds anything but pictures of one size and kind, or of several and none was asked for.
    """
    root = os.path.expanduser(folder)
    _, folders = _entries(root, root)
    parts = _parts(folder, folders)
    listed = {part: _listed(os.path.normpath(os.path.join(root, part)), root) for part in parts}
    classes = sorted({picture.label for picture in listed[parts[0]] if picture.label is not None})
    for picture in listed[parts[-1]]:
        if (picture.label not in classes) if classes else picture.label is not None:
            raise DataError(f"{picture.path}: the training pictures have no class {picture.label}")
    loader = _Loader(root, reading, sum(map(len, listed.values())))
    sets = []
    for part, pictures in listed.items():
        pixels = loader.loaded(pictures)
        labels = torch.tensor([classes.index(picture.label) for picture in pictures if picture.label is not None])
        name = os.path.basename(os.path.abspath(os.path.join(root, part)))
        sets.append(Images(name, pixels, labels if classes else None, loader.levels))
    test = sets[1] if len(sets) > 1 else None
    origin = f"the folder {parts[1]}" if test else None
    return Found(sets[0], test, origin, loader.sha256, loader.size, loader.kind, classes or None)


def _parts(folder: str, folders: Sequence[str]) -> list[str]:
    """The folders of the training and the test set, or the folder itself if its folders are classes."""
    splits = {name.lower(): name for name in folders if name.lower() in _SPLITS}
    if set(splits) == {"train", "test"} and len(folders) == 2:
        return [splits["train"], splits["test"]]
    if len(splits) > 1 or "train" in splits:
        raise DataError(f"{folder} holds folders {', '.join(folders)}: expected train and test alone, or one a class")
    return ["."]


def _entries(folder: str, root: str) -> tuple[list[str], list[str]]:
    """The names of the files and the folders in a folder, sorted, without hidden ones.

    Raises:
        DataError: if it cannot be read, or a link leads out of the root.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    for name in names:
        path = os.path.join(folder, name)
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
            raise DataError(f"{path} is a link out of the folder: copy it there")
    folders = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    return [name for name in names if name not in set(folders)], folders


def _listed(folder: str, root: str) -> list[_Picture]:
    """The pictures of a folder, or of its folders, one for each class."""
    files, folders = _entries(folder, root)
    if files and folders:
        raise DataError(f"{folder} holds both files ({files[0]}) and folders ({folders[0]}): expected one or the other")
    if not files and not folders:
        raise DataError(f"{folder} holds no pictures")
    pictures = [_Picture(os.path.join(folder, name), None) for name in files]
    for name in folders:
        inner, deeper = _entries(os.path.join(folder, name), root)
        if deeper or not inner:
            what = f"a folder {deeper[0]}" if deeper else "no pictures"
            raise DataError(
                f"{os.path.join(folder, name)}, the folder of a class, holds {what}: expected pictures alone"
            )
        pictures += [_Picture(os.path.join(folder, name, file), name) for file in inner]
    return pictures


class _Loader:
    """Pictures that must all become alike: the first one, or what was asked for, decides on size and colour.

    Args:
        root: their folder.
        reading: how to read them.
        count: how many there are in all.
    """

    def __init__(self, root: str, reading: Reading, count: int) -> None:
        self.root, self.count = root, count
        self.mode = None if reading.channels is None else _MODES[reading.channels]
        self.asked = self.mode is not None
        self.image_size = None if reading.image_size is None else (reading.image_size[0], reading.image_size[1])
        self.resized = self.image_size is not None
        self.size = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Over the pictures' names within the folder and their own SHA-256, in order."""
        return self._digest.hexdigest()

    @property
    def kind(self) -> str:
        """What the pictures became, in words."""
        colour = _COLOURS[self.mode or "L"]
        return f"{'turned ' if self.asked else ''}{colour}{', resized' if self.resized else ''} pictures"

    @property
    def levels(self) -> int:
        return 2 if self.mode == "1" else 256

    def loaded(self, pictures: Sequence[_Picture]) -> torch.Tensor:
        """(N, C, H, W) uint8."""
        arrays = self._arrays(pictures)
        first = next(arrays)
        pixels = np.empty((len(pictures), *first.shape), np.uint8)
        pixels[0] = first
        for i, array in enumerate(arrays, 1):
            pixels[i] = array
        return torch.from_numpy(pixels)

    def _arrays(self, pictures: Sequence[_Picture]) -> Iterator[np.ndarray]:
        for picture in pictures:
            with open_file(picture.path) as file:
                if size_of(file) > LARGEST:
                    raise DataError(f"{picture.path} is too large for a picture")
                content = _read(file, picture.path)
            name = os.path.relpath(picture.path, self.root).replace(os.sep, "/")  # the same digest on every system
            self._digest.update(os.fsencode(name) + b"\0")
            self._digest.update(hashlib.sha256(content).digest())
            self.size += len(content)
            yield self._decoded(content, picture.path)

    def _decoded(self, content: bytes, path: str) -> np.ndarray:
        from PIL import Image, UnidentifiedImageError

        known = ", ".join(_FORMATS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(BytesIO(content), formats=_FORMATS) as image:
                    return self._array(image, path)
        except DataError:
            raise
        except UnidentifiedImageError as error:
            raise DataError(f"{path} is no picture: expected {known}") from error
        except Exception as error:  # on damaged bytes PIL's parsers raise whatever they hit
            raise DataError(f"{path} cannot be read: expected a picture ({known}); {first_line(error)}") from error

    def _array(self, image: Any, path: str) -> np.ndarray:
        """A picture as (C, H, W) uint8, turned as its camera was held."""
        from PIL.Image import Resampling
        from PIL.ImageOps import exif_transpose

        if image.mode not in (*_KEPT, *_TURNED) or _has_wide_pixels(image):
            raise DataError(
                f"{path} has more than 8 bits a channel (mode {image.mode}): expected 8, levels from 0 to 255"
            )
        if getattr(image, "n_frames", 1) > 1:
            raise DataError(f"{path} has {image.n_frames} frames: expected a single picture")
        mode = image.mode if image.mode in _KEPT and not image.has_transparency_data else None
        if not self.asked and (mode is None or mode != (self.mode or mode)):
            before = f", and those before it are {self.mode}" if self.mode else ""
            clear = " and is transparent in parts" if image.has_transparency_data else ""
            raise DataError(f"{path} has the mode {image.mode}{clear}{before}: --channels 1 turns all grey, 3 coloured")
        self.mode = self.mode or mode
        image = exif_transpose(image)
        height, width = self.image_size = self.image_size or (image.height, image.width)
        self._check_size(height, width)
        if (image.height, image.width) != (height, width) and not self.resized:
            raise DataError(
                f"{path} has {image.height} x {image.width} pixels, and those before it {height} x {width}: "
                f"resize them all, for example by --image_size {height} {width}"
            )
        image = (_on_white(image) if image.has_transparency_data else image).convert(self.mode)
        if (image.height, image.width) != (height, width):
            image = image.resize((width, height), Resampling.BILINEAR)
        pixels = np.asarray(image, np.uint8)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def _check_size(self, height: int, width: int) -> None:
        size = self.count * height * width * len(self.mode or "")  # a mode has a letter a channel
        if size > LARGEST:
            raise DataError(
                f"{self.root} holds {self.count:,} pictures, which take {size:,} bytes of memory, more than "
                f"{LARGEST:,}: have them resized with a smaller --image_size, or save them as a .npy file"
            )


def _read(file: BufferedReader, path: str) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _on_white(image: Any) -> Any:
    from PIL import Image

    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))


def _has_wide_pixels(image: Any) -> bool:
    """Whether a picture has channels of 16 bits, from which PIL would take the upper 8 without a word."""
    arguments = [part for tile in image.tile for part in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    return any(
        (isinstance(part, str) and ";16" in part) or (image.format == "PPM" and isinstance(part, int) and part > 255)
        for part in arguments
    )
