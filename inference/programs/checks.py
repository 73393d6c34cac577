"""Checks of images and labels before programs see them."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from inference.data.images import Images


def check_levels(model: Callable, images: Images, half: str = "model") -> None:
    """Make sure that images have the levels and classes that a model or guide declares, see ``protocols``.

    Raises:
        ValueError: if not.
    """
    levels = images.levels if images.binarisation == "none" else 2
    expected = getattr(model, "levels", levels)
    if expected != levels:
        raise ValueError(
            f"the {half} is one of pixels with {expected} levels, but {images.name} shows it {levels}: "
            "binarise the images for a model of binary pixels, and only for such a model"
        )
    classes = getattr(model, "num_classes", None)
    if images.conditional and classes == 0:
        raise ValueError(f"the {half} takes no labels, but the images come with them")
    if classes and not images.conditional:
        raise ValueError(
            f"the {half} is given labels, of {classes} classes, but {images.name} comes without: "
            "dataclasses.replace(images, conditional=True) shows the labels too"
        )
    if images.conditional and classes is not None and images.num_classes > classes:
        raise ValueError(f"the {half} is one of {classes} classes, but {images.name} has {images.num_classes}")


def check_takes_labels(*programs: nn.Module) -> None:
    """Make sure that every program has a parameter ``labels``.

    Raises:
        ValueError: if one has none: it would take the labels for something else.
    """
    for program in programs:
        parameters = inspect.signature(program.forward).parameters.values()
        if not any(p.name == "labels" or p.kind is p.VAR_POSITIONAL for p in parameters):
            raise ValueError(f"{type(program).__name__} takes no labels: its forward needs a parameter of that name")


def check_data(x: Tensor, labels: Tensor | None = None, num_classes: int | None = None) -> None:
    """Make sure that images, and labels if any, are what programs expect.

    Raises:
        TypeError: if the images are not floats of 32 bits or more.
        ValueError: if there is no image, a pixel is not finite, the labels are not one for each image,
            or one is not below the number of classes (if known).
    """
    if not x.is_floating_point():
        raise TypeError("x must be a tensor of floats, such as images.observe() gives")
    if x.element_size() < 4:
        raise TypeError(f"x must be float32 or float64, in which densities are summed over pixels; got {x.dtype}")
    if x.dim() < 1 or not x.numel():
        raise ValueError(f"x must hold at least one image; its shape is {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError("x holds values that are not finite (NaN or infinity)")
    if labels is not None and labels.shape != x.shape[:1]:
        raise ValueError(f"there must be one label for each of {len(x)} images; got shape {tuple(labels.shape)}")
    if labels is not None and num_classes and not (labels.min() >= 0 and labels.max() < num_classes):
        raise ValueError(f"labels must be from 0 to {num_classes - 1}; got {labels.min()} to {labels.max()}")
