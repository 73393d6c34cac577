"""Try a pair on a few images before hours are spent on it."""

import inspect
import warnings
from collections.abc import Callable

import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from inference.evaluation_mode import evaluating
from inference.images import Images
from inference.misfits import CheckedSites, told, why_not
from inference.objective import Objective
from inference.param_store import ParameterSites, param_store_as_it_was
from inference.randomness import generators_as_they_were
from inference.support import check_observed
from inference.switches import validating
from inference.terms import check_plates, draw_traces


def check_levels(model: Callable, images: Images, half: str = "model") -> None:
    """Make sure that a model, or guide, which says how many levels or classes there are is shown such images.

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
    """Make sure that programs which are to be given labels have a parameter of that name.

    Raises:
        ValueError: if not: the labels would be taken for something else.
    """
    for program in programs:
        parameters = inspect.signature(program.forward).parameters.values()
        if not any(p.name == "labels" or p.kind is p.VAR_POSITIONAL for p in parameters):
            raise ValueError(f"{type(program).__name__} takes no labels: its forward needs a parameter of that name")


def check_data(x: Tensor, labels: Tensor | None = None, num_classes: int | None = None) -> None:
    """Make sure that images, and labels if there are any, are what programs are called with.

    Raises:
        TypeError: if the images are not floats, of 32 bits or more.
        ValueError: if there is no image, one is not finite, or there is not one label for each, below
            the number of classes if it is known.
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


def check_pair(model: nn.Module, guide: nn.Module, images: Images, objective: ELBO) -> list[str]:
    """Run the loss once on a few images, with Pyro's own checks on, and leave everything as it was.

    Returns the names of the parameters that it does not depend on.

    Raises:
        ValueError: if model, guide, images and objective do not fit together; one line says how.
    """
    check_levels(model, images)
    check_levels(guide, images, half="guide")
    if images.conditional:
        check_takes_labels(model, guide)
    data: list[Tensor] = []
    try:
        with (
            evaluating(model, guide),
            validating(True),
            param_store_as_it_was(),
            generators_as_they_were(),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "Found (non-auxiliary )?vars in")  # told in one line below
            warnings.filterwarnings("error", "Failed to verify mean field restriction")  # its loss would be wrong
            device = next(model.parameters(), images.pixels).device
            data = [part.to(device) for part in images.arguments(_telling(images))]
            _check_shown(model, guide, *data)
            with ParameterSites() as sites, CheckedSites(len(data[0])):
                loss, _ = Objective(objective, model, guide)(*data)
    except Exception as error:  # a user's own programs may raise anything
        raise ValueError(
            (why_not(model, guide, *data) if data else None)
            or f"model, guide and objective cannot be run together: {told(error, model, guide)}"
        ) from error
    sites.check_held_by([*model.parameters(), *guide.parameters()])
    if not loss.requires_grad:
        raise ValueError("the loss depends on no parameter: there is nothing to train")
    trained = {name: p for name, p in nn.ModuleList([model, guide]).named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    return [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]


@torch.no_grad()
def _check_shown(model: Callable, guide: Callable, *data: Tensor) -> None:
    try:
        model_trace, guide_trace = draw_traces(model, guide, *data)
    except Exception:  # of programs that do not fit together the loss says more
        return
    check_plates(len(data[0]), model_trace, guide_trace)
    check_observed(model_trace)


def _telling(images: Images) -> Tensor:
    """The first two images, and those of the darkest and the brightest pixel: the model is to take all of them."""
    pixels = images.pixels.flatten(1)
    index = [0, min(1, len(images) - 1), int(pixels.amin(1).argmin()), int(pixels.amax(1).argmax())]
    return torch.tensor(sorted(set(index)), device=pixels.device)
