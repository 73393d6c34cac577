"""What a page needs of one run."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from inference import DataSet, Pair, RunError
from pyro_models import VAE, DensityModel, FlowModel, TwoLevelVAE
from pyro_models_cli.explore.data import Shown
from pyro_models_cli.explore.flow import distribution_of, flow_content
from pyro_models_cli.explore.vae import vae_content
from pyro_models_cli.explore.values import Constants


def run_content(name: str, pair: Pair, data: DataSet, constants: Constants, images: int = 60) -> dict[str, Any]:
    """Graphs, data and words of one run.

    Raises:
        RunError: if the page cannot show its model.
    """
    model: Any = pair.model.eval().float()
    guide: Any = pair.guide.eval().float()
    _check_finite(name, model, guide)
    shown = Shown(data, images)
    if isinstance(model, TwoLevelVAE):
        raise RunError(f"explore shows models with one code; {name} has a {type(model).__name__}")
    if isinstance(model, VAE):
        if not hasattr(guide, "posterior"):
            raise RunError(f"explore needs a guide with a posterior; {name} has a {type(guide).__name__}")
        content = vae_content(pair, shown, constants)
        parts = [f"prior {type(model.prior).__name__}", f"guide {type(guide).__name__}"]
        parts += [f"decoder {type(model.decoder).__name__}", f"likelihood {type(model.likelihood).__name__}"]
    elif isinstance(model, FlowModel | DensityModel):
        content = flow_content(pair, shown, constants)
        transforms = distribution_of(model, *shown.arguments(1)[1:]).transforms
        parts = [f"{type(model.flow).__name__} of {len(transforms)} transforms"]
    else:
        raise RunError(f"explore knows VAEs and flows; {name} has a {type(model).__name__}")
    return {"name": name, "parts": ", ".join(parts), "data": data.name, **shown.content(constants), **content}


def check_side_by_side(contents: Sequence[dict[str, Any]]) -> None:
    """Check that runs fit on one page, whose controls they share.

    Raises:
        RunError: if not.
    """
    first, last = contents[0], contents[-1]
    if last["kind"] != first["kind"]:
        kinds = "VAEs, flows over images, or flows over a plane"
        raise RunError(f"side by side go runs of one kind: {kinds}; {first['name']} and {last['name']} are not")
    if last["shape"] != first["shape"]:
        shapes = " and ".join(str(tuple(content["shape"])) for content in (first, last))
        raise RunError(f"side by side go runs over data of one shape; got {shapes}")


def _check_finite(name: str, *parts: nn.Module) -> None:
    for part in parts:
        for where, weights in part.state_dict().items():
            if not weights.isfinite().all():
                raise RunError(f"{name} cannot be put on a page: its weights {where} hold NaN or infinity")
