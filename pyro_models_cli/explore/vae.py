"""What a page needs of a VAE: its functions as graphs, and its codes of the test data."""

import math
from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from inference import Pair, RunError
from inference.evaluation.latents import latent_records
from pyro_models import VAE
from pyro_models.flows import FlowDistribution
from pyro_models_cli.explore.data import Shown
from pyro_models_cli.explore.graph import exported
from pyro_models_cli.explore.values import Constants

DRAWS = 20  # weights that one run of the page's graph draws


def vae_content(pair: Pair, data: Shown, constants: Constants) -> dict[str, Any]:
    """Graphs, codes, divergences and the prior of a VAE.

    Raises:
        RunError: if a part cannot be put on a page.
    """
    model: Any = pair.model
    guide: Any = pair.guide
    size = guide.latent_dim
    x, *labels = data.arguments(1)
    z, noise, pairs = torch.zeros(1, size), torch.zeros(DRAWS, 1, size), noise_in_pairs(size)
    _check_has_mean(model, z, *labels)
    make = partial(exported, modules=[model, guide], constants=constants)
    known = {"prior": prior_content(model, constants), **codes(pair, data, pairs, constants)}
    return {
        "kind": "vae",
        "latent": size,
        "draws": DRAWS,
        **known,
        "graphs": {
            "decode": make(partial(decoded, model), examples=[z, *labels], what="the decoder"),
            "encode": make(partial(encoded, model, guide, pairs), examples=[x, *labels], what="the guide"),
            "weigh": make(partial(weighed, model, guide), examples=[x, noise, *labels], what="an importance weight"),
        },
    }


def _check_has_mean(model: VAE, z: Tensor, *labels: Tensor) -> None:
    try:
        decoded(model, z, *labels)
    except NotImplementedError as error:
        raise RunError(
            f"explore shows the mean of p(x | z), and the {type(model.likelihood).__name__} of this run have none in "
            "closed form: each depends on others"
        ) from error


def decoded(model: VAE, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """The mean of p(x | z)."""
    return model.image(z, labels).mean


def encoded(model: VAE, guide: Any, pairs: Tensor, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
    """Moments of q(z | x), see :func:`moments`, and its divergence from the prior where it has a closed form."""
    q = guide.posterior(x, labels)
    try:
        return *moments(q, pairs), dist.kl.kl_divergence(q, model.code(labels))
    except NotImplementedError:
        return moments(q, pairs)


def noise_in_pairs(size: int, count: int = 32) -> Tensor:
    """Standard normal noise (count, 1, size), always the same, each half the negative of the other."""
    half = torch.randn(count // 2, 1, size, generator=torch.Generator().manual_seed(0))
    return torch.cat([half, -half])


def moments(q: dist.TorchDistribution, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate; of a flow, which has no formula for them, those of draws."""
    if not isinstance(q, FlowDistribution):
        return q.mean, q.stddev
    z, _ = drawn(q, pairs)
    mean = z.mean(0)
    return mean, ((z - mean).square().sum(0) / (len(pairs) - 1)).sqrt()


def weighed(
    model: VAE, guide: Any, x: Tensor, noise: Tensor, labels: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Codes drawn from q(z | x) by noise, and the three terms of their log weights: log p(z), log p(x | z), log q."""
    z, log_q = drawn(guide.posterior(x, labels), noise)
    return z, model.code(labels).log_prob(z), model.image(z, labels).log_prob(x), log_q


def drawn(q: dist.TorchDistribution, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A draw of q, computed from standard normal noise, and its log-density.

    Raises:
        RunError: if it is not known how q draws.
    """
    if isinstance(q, FlowDistribution):
        start, log_prob = drawn(q.base_dist, noise)
        z, log_det = q.from_base_with_log_det(start)
        return z, log_prob - log_det
    if isinstance(q, dist.MultivariateNormal):
        z = q.loc + (q.scale_tril * noise[..., None, :]).sum(-1)
        log_noise = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1)
        return z, log_noise - q.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    elif isinstance(q, dist.Independent) and isinstance(q.base_dist, dist.Normal):
        z = q.base_dist.loc + q.base_dist.scale * noise
    else:
        raise RunError(
            f"explore draws codes from normal distributions and flows of them; this guide's is a {type(q).__name__}"
        )
    return z, q.log_prob(z)


@torch.no_grad()
def prior_content(model: VAE, constants: Constants, count: int = 500) -> dict[str, Any]:
    """The prior as a mixture of normal distributions; one of another kind as draws, without a spread around them.

    A prior that depends on a label has one such mixture for each label, with the same number of parts.
    """
    labelled = bool(getattr(model.prior, "context", 0))
    p = model.code(torch.arange(model.num_classes) if model.num_classes else None)
    parts = p.component_distribution if isinstance(p, dist.MixtureSameFamily) else p
    if isinstance(parts, dist.Independent) and isinstance(parts.base_dist, dist.Normal):
        loc, scale = parts.base_dist.loc, parts.base_dist.scale
        weights = p.mixture_distribution.probs if isinstance(p, dist.MixtureSameFamily) else torch.ones(1)
        spread = True
    else:
        loc = p.sample(torch.Size([count])).movedim(0, -2)
        scale, weights, spread = torch.zeros_like(loc), torch.ones(count) / count, False
    named = {"loc": loc.reshape(-1, loc.shape[-1]), "scale": scale.reshape(-1, loc.shape[-1]), "weights": weights}
    return {
        "spread": spread,
        "labelled": labelled,
        **{name: constants.add(tensor, exact=True) for name, tensor in named.items()},
    }


@torch.no_grad()
def codes(pair: Pair, data: Shown, pairs: Tensor, constants: Constants, most: int = 1000) -> dict[str, Any]:
    """Mean codes of data, and what each coordinate says of the data."""
    given = data.arguments(most)
    guide: Any = pair.guide
    q = guide.posterior(*given)
    means, _ = moments(q, pairs)
    (record,) = latent_records(pair.model, guide, *given)
    order = sorted(range(len(record.variance_of_means)), key=lambda d: -record.variance_of_means[d])
    return {
        "codes": constants.add(means),
        "count": len(means),
        "estimated": len(pairs) if isinstance(q, FlowDistribution) else 0,
        "order": order,
        "divergence": record.divergence,
        "variance": record.variance_of_means,
        "active": record.active,
    }
