"""What each latent says about the data: divergence, active coordinates, mutual information."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.poutine import Trace
from torch import Tensor

from inference.evaluation.diagnosis import ACTIVE, Latent
from inference.programs.param_store import param_store_unchanged
from inference.programs.support import check_observed
from inference.programs.terms import check_plates, divergences_by_dimension, draw_traces, sample_sites, site_log_prob
from inference.system.progress import Bar


def latent_records(model: Callable, guide: Callable, *data: Tensor) -> list[Latent]:
    """The record of every latent of a model and its guide over some data.

    Raises:
        ValueError: if the data hold what the model could not draw, or a site lies outside the batch's plate.

    Source: active units, Burda, Grosse and Salakhutdinov (2016), section 5.2; mutual information,
    Hoffman and Johnson, "ELBO surgery" (2016).
    """
    model_trace, guide_trace = draw_traces(model, guide, *data)
    check_plates(len(data[0]), model_trace, guide_trace)
    check_observed(model_trace)
    divergences = divergences_by_dimension(model_trace, guide_trace)
    first, second = posterior_means(guide, data), posterior_means(guide, data)
    return [
        latent_record(name, site, first[name], second[name], divergences[name], _image_in(site, model_trace))
        for name, site in sample_sites(guide_trace).items()
    ]


def latent_record(
    name: str, site: Any, first: Tensor, second: Tensor, divergence: Tensor, observed: Tensor | None = None
) -> Latent:
    """The record of a latent, from two independent estimates of its posterior means."""
    # what two independent estimates of E[z | x] have in common comes from x; for a known mean they are equal
    variance = ((first - first.mean(0)) * (second - second.mean(0))).sum(0) / max(1, len(first) - 1)
    error = (first - second).square().mean(0) / 2 / math.sqrt(len(first))
    active = variance > ACTIVE + 3 * error  # which NaN is not
    unused = (~active).nonzero().flatten().tolist()
    return Latent(
        name=name,
        divergence=divergence.mean(0).tolist(),
        variance_of_means=variance.tolist(),
        active=len(variance) - len(unused),
        unused=unused,
        mutual_information=_mutual_information(name, site) if observed is None else _entropy(observed),
        ceiling=math.log(len(first)),
        holds_image=observed is not None,
    )


def posterior_means(guide: Callable, data: tuple[Tensor, ...], draws: int = 16) -> dict[str, Tensor]:
    """E[z | x] of every latent, (B, D), averaged over draws of the latents that it depends on."""
    totals: dict[str, Tensor] = {}
    for _ in range(draws):
        with param_store_unchanged():
            sites = sample_sites(poutine.trace(guide).get_trace(*data))
        for name, site in sites.items():
            try:
                value = site["fn"].mean
            except NotImplementedError:
                value = site["value"]
            totals[name] = totals.get(name, 0.0) + value.reshape(len(value), -1) / draws
    return totals


def _image_in(site: Any, model_trace: Trace) -> Tensor | None:
    """The observation, if this latent has its shape and determines it."""
    observed = [other for other in sample_sites(model_trace).values() if other["is_observed"]]
    if len(observed) != 1 or site["fn"].event_shape != observed[0]["fn"].event_shape:
        return None
    return observed[0]["value"] if (site_log_prob(observed[0]) == 0).all() else None


def _entropy(data: Tensor) -> float:
    """The entropy of a draw from the data: what a latent says of the observation if it determines it."""
    counts = data.flatten(1).unique(dim=0, return_counts=True)[1].cpu().double()
    return math.log(len(data)) - float((counts * counts.log()).sum()) / len(data)


def _mutual_information(name: str, site: Any) -> float:
    q = site["fn"]
    own = q.log_prob(site["value"])
    mixed = []
    with Bar(f"mutual information of {name}", len(site["value"]), "observations") as bar:
        for part in site["value"].split(50):
            mixed.append(mixture_log_prob(q, part))
            bar.update(len(part))
    return float((own - torch.cat(mixed)).mean())


def mixture_log_prob(q: Any, z: Tensor) -> Tensor:
    """log of the mean over the data of q(z | x_n), (M,) for M values."""
    pairs = q.log_prob(z[:, None].expand(len(z), *q.batch_shape, *q.event_shape))
    pairs = pairs.where(~pairs.isnan(), -math.inf)  # so far out that the inverse of an autoregressive map overflows
    return pairs.logsumexp(1) - math.log(pairs.shape[1])
