"""Complete images with missing pixels, by Hamiltonian Monte Carlo in the base space of a trained flow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoDelta, init_to_sample, init_to_value
from pyro.optim import Adam  # type: ignore[attr-defined]  # Pyro makes one for each of torch's
from torch import Tensor

from inference import Images, Run, set_seed
from inference.runs.hub import place_of
from inference.system.files import try_writing
from inference.system.progress import Bar
from pyro_models import FlowModel, Inpainting
from pyro_models_cli.data import data_again
from pyro_models_cli.options import RunOptions, one_of
from pyro_models_cli.trained import load_pair, parse_run, picture_file, write_picture

SHOWN = 6  # completions of an image in the figure
# the known pixels of an image of H x W pixels
KNOWN = {
    "top": lambda h, w: torch.arange(h)[:, None].expand(h, w) < h / 2,
    "left": lambda h, w: torch.arange(w).expand(h, w) < w / 2,
    "frame": lambda h, w: ~(_middle(h)[:, None] & _middle(w)),
    "scattered": lambda h, w: torch.rand(h, w) < 0.25,
}


def _middle(size: int) -> Tensor:
    return (2 * torch.arange(size) + 1 - size).abs() < size / 2


@dataclass(frozen=True, kw_only=True)
class InpaintOptions(RunOptions):
    """Options of the images and the sampler.

    Args:
        known: the known pixels: the top half, the left half, a frame around the middle, or a scattered
            quarter.
        num_images: number of test images, from the first on.
        num_chains: number of chains, each with its own start.
        num_samples: draws to keep from each chain.
        warm_up: earlier draws of each chain, which adapt the sampler and are not kept.
        noise: standard deviation of the noise on the logits of known pixels.
        seed: seed of the draws.
        out: PNG file; by default figures/inpainting.png in the run's folder.
    """

    known: str = one_of(tuple(KNOWN), "top")
    num_images: int = 5
    num_chains: int = 3
    num_samples: int = 50
    warm_up: int = 50
    noise: float = 0.3
    seed: int = 0
    out: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("num_images", 1), ("num_chains", 1), ("num_samples", 1), ("warm_up", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}")


def inpaint(run: Path | str, options: InpaintOptions | None = None) -> Path:
    """Complete test images with a run's flow; returns the path of the picture.

    Raises:
        ValueError: if the run's model is not a flow, or an option is out of its range.
        RunError, OSError: if the run cannot be read, or the picture not written.
    """
    options, run = options or InpaintOptions(), place_of(run)
    out = picture_file(options.out, run / "figures" / "inpainting.png")
    pair, device = load_pair(run, options)
    if not isinstance(pair.model, FlowModel):
        raise ValueError(f"only a flow of images can complete images; {run} holds a {type(pair.model).__name__}")
    test: Any = data_again(Run.open(run), options).tested().to(device)
    try_writing(out)
    set_seed(options.seed)
    known = KNOWN[options.known](*test.image_shape[1:]).expand(test.image_shape).to(device)
    rows = completed(pair.model, known, test, options)

    from inference.figures.image_grid import image_grid  # matplotlib is slow to import

    write_picture(image_grid(torch.cat(rows), columns=len(rows[0])), out)
    given = ", given its label" if pair.model.num_classes else ""
    print(f"{out}: each row has an image, its known pixels, {len(rows[0]) - 3} completions{given}, and the mean of all")
    return out


def completed(flow: FlowModel, known: Tensor, test: Images, options: InpaintOptions) -> list[Tensor]:
    """What :func:`row` shows, for each of the first test images."""
    model = Inpainting(flow, known, options.noise).requires_grad_(False)
    count = min(options.num_images, len(test))
    rows = []
    with Bar("inpainting", count * options.num_chains * (options.warm_up + options.num_samples), "draws") as bar:
        for i in range(count):
            data = test.arguments(slice(i, i + 1))  # with its label, for a conditional flow
            draws = []
            for _ in range(options.num_chains):
                draws.append(complete(model, options.num_samples, options.warm_up, *data, drawn=bar.update))
            rows.append(row(data[0][0], known, torch.cat(draws), test))
    return rows


def complete(
    model: Inpainting, num_samples: int, warm_up: int, *data: Tensor, drawn: Callable[[], object] = lambda: None
) -> Tensor:
    """Draws of one whole image given its known pixels, (num_samples, C, H, W).

    The chain starts where gradient ascent on the posterior ends, from a draw of the prior.  ``drawn`` is called
    after each draw.
    """
    with pyro.validation_enabled(False), pyro.get_param_store().scope():  # empty inside
        mode = AutoDelta(model, init_loc_fn=init_to_sample)
        svi = SVI(model, mode, Adam({"lr": 0.05}), Trace_ELBO())
        for _ in range(300):
            svi.step(*data)
        kernel = NUTS(model, init_strategy=init_to_value(values=mode.median(*data)), max_tree_depth=6)
        chain = MCMC(kernel, num_samples, warm_up, disable_progbar=True, hook_fn=lambda *_: drawn())
        chain.run(*data)
        return Predictive(model, chain.get_samples(), return_sites=["_RETURN"])(*data)["_RETURN"][:, 0]


def row(x: Tensor, known: Tensor, draws: Tensor, images: Images) -> Tensor:
    """An image, its known pixels, some completions and the mean of all, as intensities."""
    grey = torch.where(known, x, (images.levels - 1) / 2)
    some = draws[torch.linspace(0, len(draws) - 1, min(SHOWN, len(draws))).long()]
    return torch.stack([x, grey, *some, draws.mean(0)]) / (images.levels - 1)


def command(argv: Sequence[str] | None = None) -> None:
    inpaint(*parse_run(InpaintOptions, __doc__, argv))
