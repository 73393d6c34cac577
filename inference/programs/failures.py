"""Why a model and a guide cannot run together: which of them fails, where, and what to do."""

import re
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.programs.param_store import param_store_unchanged
from inference.programs.terms import check_shapes, check_sites
from inference.system.switches import validating

_LONGEST = 400  # characters of a cause: it may show tensors
_WITHOUT_FORWARD = "missing the required .forward. function"
# patterns in messages of Pyro, PyTorch and Python, and what to do about each
_HINTS = {
    "Shape mismatch inside plate": "declare the dimensions of one observation, or of one code, with .to_event(1), or "
    ".to_event(3) for an image; no parameter may have len(x) rows",
    "cannot be multiplied|does not broadcast|must match the (existing )?size|[Ee]xpected input": "the sizes must fit: "
    "image_shape and latent_dim are those of the data and of the code in every part, with labels context is the "
    "number of classes, and programs index from the right, z[..., None]",
    "Dimension out of range|expected to be in range|value.dim": "an image is (C, H, W), and a batch "
    "(B, C, H, W); of vectors (B, D)",
    "same dtype|expected scalar type|dtype of input": "data, model and guide must be of one type: model.double() "
    "and guide.double() for float64 data, .float() for float32",
    _WITHOUT_FORWARD: "give it a forward(self, x, labels=None); a guide gets one from AmortizedGuide",
    r"t\(\) expects a tensor": "weights that are drawn, such as a PyroSample, are latents that all observations share, "
    "and these are not supported: make them parameters",
    "subsample_size does not match": "no plate may subsample: make it of size len(x), the batch that the data give",
    "constraint Greater": "make it positive, with .exp() or softplus",
}
_CALLED = (
    "model and guide are called with the data, and the labels of a conditional pair: forward(self, x, labels=None)"
)


def explain_failure(model: Callable, guide: Callable, *data: Tensor) -> str | None:
    """One line on why a pair cannot run on these data; None if each half runs by itself.

    Each half runs alone, on its own draws, with Pyro's checks on.
    """
    traces: list[Trace] = []
    drawn = {"guide": SiteChecks(len(data[0])), "model": SiteChecks(len(data[0]))}
    for half, program in (("guide", guide), ("model", model)):
        try:
            with validating(True), param_store_unchanged(), drawn[half]:
                traces.append(poutine.trace(program).get_trace(*data))
        except Exception as error:  # a user's own programs may raise anything
            if isinstance(error, NotImplementedError) and not re.search(_WITHOUT_FORWARD, str(error)):
                return None  # a distribution that cannot be drawn from
            try:  # the cause may be a latent of another size, on which the rest of the program fails
                check_shapes(drawn["model"].latents, drawn["guide"].latents)
            except ValueError as misfit:
                return str(misfit)
            shape = tuple(data[0].shape[1:])
            cause = describe_error(error, program)
            return f"the {half} {_name(program)} cannot be run on data of shape {shape}: {cause}"
    try:
        check_sites(traces[1], traces[0])
    except ValueError as error:
        return str(error)
    return None


def describe_error(error: Exception, *programs: Callable) -> str:
    """An error in one line: its text, the part of the programs that raised it, and a hint if one is known.

    Leaves out the pages about sites that Pyro adds to its messages.
    """
    text = " ".join(str(error).partition("Trace Shapes:")[0].split()).partition(": tensor(")[0]
    text = f"{text[:_LONGEST]} ..." if len(text) > _LONGEST else text
    if isinstance(error, NotImplementedError) and not text:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        return f"{_owner_of(frame)} must define {frame.f_code.co_name}"
    if not isinstance(error, ValueError):
        text = f"{type(error).__name__}: {text}"
    place = _where_raised(error, programs, with_line=not isinstance(error, ValueError))
    hints = [hint for pattern, hint in _HINTS.items() if re.search(pattern, text)]
    if not place and re.search("positional argument|unexpected keyword argument", text):
        hints.append(_CALLED)
    return f"{text}{place}{''.join(f'; {hint}' for hint in hints[:1])}"


def _where_raised(error: Exception, programs: tuple[Callable, ...], with_line: bool) -> str:
    """The innermost part that was running, and the line of its code unless it is a library's."""
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


def _owner_of(frame: FrameType) -> str:
    return type(frame.f_locals["self"]).__name__ if "self" in frame.f_locals else frame.f_code.co_filename


def _name(program: Callable) -> str:
    return getattr(program, "__name__", type(program).__name__)


class SiteChecks(Messenger):
    """Checks that every site is a distribution inside the plate of the batch, as this project assumes.

    Args:
        batch: number of observations.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch
        self.latents: dict[str, tuple[int, ...]] = {}  # event shapes of the latents drawn so far

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
                f"site {name!r} is in no plate, so that it has one density for the whole batch: draw it within "
                "`with pyro.plate('data', len(x)):`, and let .to_event(...) name the dimensions of one observation; a "
                "latent that all observations share is not supported: make it a parameter"
            )
        if plate.size != self.batch or plate.full_size not in (None, plate.size):
            raise ValueError(
                f"site {name!r} is in plate {plate.name!r} of {plate.full_size or plate.size} places, but there are "
                f"{self.batch} observations in this batch: the plate must be of size len(x), and not subsample"
            )
        shape = tuple(fn.event_shape)
        if not message["is_observed"]:
            self.latents[name] = shape
        elif message["value"] is not None and shape:
            observed = tuple(message["value"].shape[-len(shape) :])
            if observed != shape or message["value"].dim() > len(fn.batch_shape) + len(shape):
                raise ValueError(
                    f"site {name!r} observes values of shape {tuple(message['value'].shape[1:])}, but its distribution "
                    f"is one of events of shape {shape}: let the decoder or flow give events of the data's shape"
                )
