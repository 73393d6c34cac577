"""Why a model and a guide cannot be run together: which of them fails, where in it, and what to do."""

import re
import traceback
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.programs.param_store import param_store_as_it_was
from inference.programs.terms import check_shapes, check_sites

_LONGEST = 400  # characters of a cause: it may show tensors
# what Pyro, PyTorch or Python say, and what to do then
_HINTS = {
    "Shape mismatch inside plate": "declare the dimensions that belong to one image with .to_event(1), for a code, or "
    ".to_event(3), for an image",
    "cannot be multiplied|does not broadcast|must match the (existing )?size|[Ee]xpected input": "the sizes must fit: "
    "image_shape and latent_dim are those of the data and of the code in every part, and with labels context is the "
    "number of classes",
    "Dimension out of range|expected to be in range|value.dim": "an image is (C, H, W), and a batch (B, C, H, W)",
    "constraint Greater": "make it positive, with .exp() or softplus",
}
_CALLED = (
    "model and guide are called with the images, and the labels of a conditional pair: forward(self, x, labels=None)"
)


def why_not(model: Callable, guide: Callable, *data: Tensor) -> str | None:
    """One line on what is wrong with a pair that cannot be run on these images; None if it is neither half by itself.

    Each is run alone, on its own draws, with Pyro's checks on.
    """
    traces: list[Trace] = []
    drawn = {"guide": CheckedSites(len(data[0])), "model": CheckedSites(len(data[0]))}
    for half, program in (("guide", guide), ("model", model)):
        try:
            with pyro.validation_enabled(True), param_store_as_it_was(), drawn[half]:
                traces.append(poutine.trace(program).get_trace(*data))
        except NotImplementedError:  # a distribution that cannot be drawn from
            return None
        except Exception as error:  # a user's own programs may raise anything
            try:  # a latent of another size is what the rest of a program stumbles over
                check_shapes(drawn["model"].latents, drawn["guide"].latents)
            except ValueError as misfit:
                return str(misfit)
            shape = tuple(data[0].shape[1:])
            return f"the {half} {_name(program)} cannot be run on images of shape {shape}: {told(error, program)}"
    try:
        check_sites(traces[1], traces[0])
    except ValueError as error:
        return str(error)
    return None


def told(error: Exception, *programs: Callable) -> str:
    """An error in one line: its text, the part of the programs in which it came about, and what to do if that is known.

    Pyro adds pages on the sites to its messages; they are left out.
    """
    text = " ".join(str(error).partition("Trace Shapes:")[0].partition(": tensor(")[0].split())
    text = f"{text[:_LONGEST]} ..." if len(text) > _LONGEST else text
    if not isinstance(error, ValueError):
        text = f"{type(error).__name__}: {text}"
    place = _place(error, programs, with_line=not isinstance(error, ValueError))
    hints = [hint for pattern, hint in _HINTS.items() if re.search(pattern, text)]
    if not place and re.search("positional argument|unexpected keyword argument", text):
        hints.append(_CALLED)
    return f"{text}{place}{''.join(f'; {hint}' for hint in hints[:1])}"


def _place(error: Exception, programs: tuple[Callable, ...], with_line: bool) -> str:
    """The innermost part of the programs that was running, and the line of its code unless that is a library's."""
    names = {
        id(part): name
        for program in programs
        if isinstance(program, nn.Module)
        for name, part in program.named_modules()
        if name
    }
    frames = traceback.walk_tb(error.__traceback__)
    inside = [(frame, line) for frame, line in frames if id(frame.f_locals.get("self")) in names]
    if not inside:
        return ""
    frame, line = inside[-1]
    part, file = frame.f_locals["self"], frame.f_code.co_filename
    shown = type(part).__name__ if next(part.children(), None) is not None else " ".join(repr(part).split())
    code = f" ({file}, line {line})" if with_line and "site-packages" not in file else ""
    return f", in its {names[id(part)]}, {shown}{code}"


def _name(program: Callable) -> str:
    return getattr(program, "__name__", type(program).__name__)


class CheckedSites(Messenger):
    """Within, every site must be what this project counts on: a distribution, inside the plate of the batch.

    Args:
        batch: how many images there are.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch
        self.latents: dict[str, tuple[int, ...]] = {}  # event shapes of those that were drawn

    def _pyro_sample(self, message: Any) -> None:
        if site_is_subsample(message):
            return
        name, fn = message["name"], message["fn"]
        if not isinstance(fn, torch.distributions.Distribution):
            raise TypeError(
                f"site {name!r} is given a {type(fn).__name__} where a distribution belongs: return one, such as "
                "dist.Normal(loc, scale).to_event(1)"
            )
        plate = next((frame for frame in message["cond_indep_stack"] if frame.dim == -1), None)
        if plate is None:
            raise ValueError(
                f"site {name!r} is in no plate, so that it has one density for all images together: draw it within "
                "`with pyro.plate('data', len(x)):`, and let .to_event(...) name the dimensions of one image alone"
            )
        if plate.size != self.batch or plate.full_size not in (None, plate.size):
            raise ValueError(
                f"site {name!r} is in plate {plate.name!r} of {plate.full_size or plate.size} places, but there are "
                f"{self.batch} images in this batch: the plate must be of size len(x), and not subsample"
            )
        shape = tuple(fn.event_shape)
        if not message["is_observed"]:
            self.latents[name] = shape
        elif message["value"] is not None and shape:
            observed = tuple(message["value"].shape[-len(shape) :])
            if observed != shape or message["value"].dim() > len(fn.batch_shape) + len(shape):
                raise ValueError(
                    f"site {name!r} observes values of shape {tuple(message['value'].shape[1:])}, but its distribution "
                    f"is one of events of shape {shape}: let the decoder or flow give images of the data's shape"
                )
