"""Checks of data and labels before programs see them."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from inference.data.protocol import DataSet
from inference.programs.protocols import HasLevels


def check_levels(model: Callable, data: DataSet, half: str = "model") -> None:
    """Make sure that data have the levels and classes that a model or guide declares, see ``protocols``.

    Raises:
        ValueError: if not.
    """
    expected, classes = getattr(model, "levels", None), getattr(model, "num_classes", None)
    if expected is not None and not isinstance(data, HasLevels):
        raise ValueError(
            f"the {half} is one of pixels with {expected} levels, but {data.name} holds real numbers: take a {half} of "
            "real numbers, or show it Images"
        )
    if expected is not None and isinstance(data, HasLevels):
        levels = data.levels if data.binarisation == "none" else 2
        if expected != levels:
            cure = (
                "binarise the images for a model of binary pixels, and only for such a model"
                if 2 in (expected, levels)
                else f"make model and guide with levels={levels}"
            )
            raise ValueError(
                f"the {half} is one of pixels with {expected} levels, but {data.name} shows it {levels}: {cure}"
            )
    if data.conditional and classes == 0:
        raise ValueError(f"the {half} takes no labels, but the data come with them")
    if classes and not data.conditional:
        raise ValueError(
            f"the {half} is given labels, of {classes} classes, but {data.name} comes without: "
            "dataclasses.replace(data, conditional=True) shows the labels too"
        )
    if data.conditional and classes is not None and data.num_classes > classes:
        raise ValueError(f"the {half} is one of {classes} classes, but {data.name} has {data.num_classes}")


def check_takes_labels(*programs: Callable) -> None:
    """Make sure that every program has a parameter ``labels``.

    Raises:
        ValueError: if one has none: it would take the labels for something else.
    """
    for program in programs:
        called = program.forward if isinstance(program, nn.Module) else program
        parameters = inspect.signature(called).parameters.values()
        if not any(p.name == "labels" or p.kind is p.VAR_POSITIONAL for p in parameters):
            name, where = getattr(program, "__name__", type(program).__name__), getattr(called, "__name__", "call")
            raise ValueError(f"{name} takes no labels: its {where} needs a parameter of that name")


def check_data(x: Tensor, labels: Tensor | None = None, num_classes: int | None = None) -> None:
    """Make sure that observations, and labels if any, are what programs expect.

    Raises:
        TypeError: if the observations are not floats of 32 bits or more.
        ValueError: if there is no observation, a number is not finite, the labels are not one for each observation,
            or one is not below the number of classes (if known).
    """
    if not x.is_floating_point():
        raise TypeError("x must be a tensor of floats, such as data.arguments() gives")
    if x.element_size() < 4:
        raise TypeError(f"x must be float32 or float64, in which densities are summed over dimensions; got {x.dtype}")
    if x.dim() < 1 or not x.numel():
        raise ValueError(f"x must hold at least one observation; its shape is {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError("x holds values that are not finite (NaN or infinity)")
    if labels is not None and labels.shape != x.shape[:1]:
        raise ValueError(f"there must be one label for each of {len(x)} observations; got shape {tuple(labels.shape)}")
    if labels is not None and num_classes and not (labels.min() >= 0 and labels.max() < num_classes):
        raise ValueError(f"labels must be from 0 to {num_classes - 1}; got {labels.min()} to {labels.max()}")
