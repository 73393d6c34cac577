"""A data set of images, and how its pixels become observations."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference.data.labels import check_labels
from inference.data.mapped import Mapped, first_rows, rows_of, taken
from inference.data.rows import Rows
from inference.system.randomness import seed_from


@dataclass(frozen=True)
class Images(Rows):
    """Integer images as one uint8 tensor, or in a file too large for memory.

    Args:
        name: the data set and split, for messages.
        pixels: (N, C, H, W) uint8, from 0 to levels - 1.
        labels: (N,) int64, if there are any.
        levels: number of grey levels.
        binarisation: "none" to observe the integer pixels, otherwise a key of ``BINARISATIONS``.
        conditional: whether model and guide also take the labels.
        classes: how many there are, if the labels may lack the last ones.

    Raises:
        TypeError: if the pixels are not uint8.
        ValueError: if a shape or a range is wrong.

    Example:
        >>> import torch
        >>> from inference import Images
        >>> pixels = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
        >>> images = Images("noise", pixels)
        >>> len(images), images.take(slice(2)).observe().shape
        (5, torch.Size([2, 1, 8, 8]))
    """

    name: str
    pixels: Tensor | Mapped
    labels: Tensor | None = None
    levels: int = 256
    binarisation: str = "none"
    conditional: bool = False
    classes: int | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8:
            raise TypeError(
                f"{self.name}: pixels must be uint8, grey levels from 0 to levels - 1; got {self.pixels.dtype} "
                "(intensities from 0 to 1 become (255 * x).round().byte())"
            )
        if self.pixels.dim() != 4 or 0 in self.pixels.shape:
            raise ValueError(
                f"{self.name}: pixels must be (N, C, H, W) with no empty side; got {tuple(self.pixels.shape)}"
                f"{' (pixels[:, None] adds the one channel of grey images)' if self.pixels.dim() == 3 else ''}"
            )
        check_labels(self.name, self.labels, len(self.pixels), self.conditional, self.classes)
        if not 2 <= self.levels <= 256:
            raise ValueError(f"{self.name}: levels must be from 2 to 256; got {self.levels}")
        if self.binarisation not in ("none", *BINARISATIONS):
            raise ValueError(f"{self.name}: unknown binarisation {self.binarisation!r}")
        if self.binarisation in ("static", "threshold") and self.levels != 2:
            raise ValueError(f"{self.name}: {self.binarisation} images have 2 levels; got {self.levels}")
        if int(self.pixels.max()) >= self.levels:
            raise ValueError(
                f"{self.name}: pixels must be below levels = {self.levels}; the largest is {int(self.pixels.max())}"
            )

    @property
    def rows(self) -> Tensor | Mapped:
        return self.pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W), the same as ``shape``."""
        return self.shape

    @property
    def num_dims(self) -> int:
        return math.prod(self.shape)

    @property
    def log_det(self) -> float:
        return 0.0

    def to(self, device: torch.device | str) -> "Images":
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, pixels=self.pixels.to(device), labels=labels)

    def take(self, index: Tensor | slice) -> "Images":
        """The images at these indices, as a data set."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, pixels=taken(self.pixels, index), labels=labels)

    def extremes(self) -> Tensor:
        """The first two images, and those with the darkest and the brightest pixel (in a file, of its first images)."""
        pixels = first_rows(self.pixels).flatten(1)
        index = [0, min(1, len(self) - 1), int(pixels.amin(1).argmin()), int(pixels.amax(1).argmax())]
        return torch.tensor(sorted(set(index)), device=pixels.device)

    def observe(self, index: Tensor | slice = slice(None)) -> Tensor:
        """The observations of the images at these indices: (B, C, H, W) floats.

        With "dynamic" binarisation, binary draws with P(1) = pixel / (levels - 1), fresh at every
        call; otherwise the pixels themselves, whole numbers.
        """
        pixels = rows_of(self.pixels, index).float()
        if self.binarisation != "dynamic":
            return pixels
        return torch.rand_like(pixels).lt_(pixels.div_(self.levels - 1))


def _dynamic(images: Images, seed: int) -> Images:
    return replace(images, binarisation="dynamic")


def _static(images: Images, seed: int) -> Images:
    pixels = _in_memory(images, "static")
    generator = torch.Generator("cpu").manual_seed(seed_from(seed))
    uniform = torch.rand(pixels.shape, generator=generator, device="cpu").to(pixels.device)
    bits = uniform < pixels.float() / (images.levels - 1)
    return replace(images, pixels=bits.byte(), levels=2, binarisation="static")


def _threshold(images: Images, seed: int) -> Images:
    bits = _in_memory(images, "threshold").float() / (images.levels - 1) >= 0.5
    return replace(images, pixels=bits.byte(), levels=2, binarisation="threshold")


def _in_memory(images: Images, how: str) -> Tensor:
    if isinstance(images.pixels, Mapped):
        raise ValueError(f"{images.name} is too large for memory, where {how} bits are kept: dynamic ones work")
    return images.pixels


BINARISATIONS = {"dynamic": _dynamic, "static": _static, "threshold": _threshold}


def binarise(images: Images, how: str, seed: int = 0) -> Images:
    """Binary images from grey ones, whose intensity is the probability of a 1.

    "dynamic" draws anew whenever a batch is observed, "static" draws once, from ``seed``, and
    "threshold" sets the pixels of at least half the full intensity.

    Raises:
        ValueError: if ``how`` is none of these, the images are already binarised, or in a file and not to be dynamic.

    Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016), section 5 (dynamic) and
    appendix D (static).

    Example:
        >>> from inference import binarise, load_dataset
        >>> train, test = (binarise(images, "dynamic") for images in load_dataset("digits"))
        >>> test.levels, test.take(slice(3)).observe().unique()
        (17, tensor([0., 1.]))
    """
    if how not in BINARISATIONS:
        raise ValueError(f"unknown binarisation {how!r}: expected one of {', '.join(BINARISATIONS)}")
    if images.binarisation != "none":
        raise ValueError(f"{images.name} is binarised already ({images.binarisation})")
    return BINARISATIONS[how](images, seed)
