"""What a trained pair has learned: which coordinates of its latents are used, and how good its guide is."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from pyro import poutine
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor, nn

from inference.images import Images
from inference.importance import checked_log_weights, iwae_bound, log_weights
from inference.param_store import param_store_as_it_was
from inference.progress import Bar
from inference.randomness import set_seed
from inference.support import check_observed
from inference.switches import validating
from inference.terms import divergences_by_dimension, draw_traces, sample_sites


@dataclass(frozen=True)
class Latent:
    """One latent over a set of images.

    Args:
        name: of its site.
        divergence: KL(q || p) of each coordinate, a mean over images, in nats; one number where the
            distributions do not factorise.
        variance_of_means: variance over images of the posterior mean of each coordinate.
        active: how many of these exceed 0.01 (Burda, Grosse and Salakhutdinov, 2016, section 5.2), by
            three standard errors where the posterior mean is itself estimated from draws.
        unused: the numbers of the others.
        mutual_information: of the latent and the image, in nats; at most the log of the number of
            images.  Of a latent that the guide draws after others: of it and the image and the others.
    """

    name: str
    divergence: list[float]
    variance_of_means: list[float]
    active: int
    unused: list[int]
    mutual_information: float


@dataclass(frozen=True)
class Diagnosis:
    """A pair over a set of images.

    Args:
        latents: one by one.
        num_images: behind the numbers of the latents.
        negative_elbo: in nats per image, as all that follow.
        negative_iwae: with ``num_samples`` samples.
        gap: between the two: what the guide loses, or more.
        num_samples: importance samples of each image.
        num_weighted: images behind the weights.
        effective_sample_size: the share of the samples that count, a mean over images.
        pareto_k: of each image's weights, the median over images; above 0.7 they are not to be
            trusted (Vehtari et al., 2015), which a large gap makes likely.
    """

    latents: list[Latent]
    num_images: int
    negative_elbo: float
    negative_iwae: float
    gap: float
    num_samples: int
    num_weighted: int
    effective_sample_size: float
    pareto_k: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def verdict(self) -> list[str]:
        """In words: is a latent collapsed, and is the guide good enough."""
        lines = []
        for latent in self.latents:
            total, used = len(latent.variance_of_means), latent.active
            state = "fully used" if used == total else "collapsed" if used == 0 else "partly collapsed"
            which = f"; unused: {_ranges(latent.unused)}" if 0 < used < total else ""
            lines.append(f"{latent.name} is {state}: {used} of {total} coordinates are active{which}")
        trust = "can" if self.pareto_k <= 0.7 else "cannot"
        lines.append(
            f"the guide loses up to {self.gap:.2f} nats an image; its weights {trust} be trusted at "
            f"{self.num_samples} samples (Pareto k {self.pareto_k:.2f}, effective sample size "
            f"{100 * self.effective_sample_size:.1f} %)"
        )
        return lines


ACTIVE = 0.01


@torch.no_grad()
def diagnose(
    model: Callable,
    guide: Callable,
    images: Images,
    num_images: int = 1000,
    num_weighted: int = 100,
    num_samples: int = 5000,
    seed: int = 0,
) -> Diagnosis:
    r"""The state of every latent and of the importance weights, on the first images.

    .. math::
        \mathrm{MI} = E\Big[\log q(z \mid x) - \log \frac1N \sum_n q(z \mid x_n)\Big], \qquad
        \mathrm{ESS} = \frac{(\sum_s w_s)^2}{S \sum_s w_s^2}

    Raises:
        ValueError: if a number is below 1, there are fewer than 20 samples, or the images hold what the
            model could not draw.

    Source: active units, Burda, Grosse and Salakhutdinov (2016), section 5.2; mutual information,
    Hoffman and Johnson, "ELBO surgery" (2016), equation 7; Pareto k, Vehtari et al., "Pareto smoothed
    importance sampling" (2015).
    """
    if min(num_images, num_weighted) < 1 or num_samples < 20:
        raise ValueError(
            "num_images and num_weighted must be at least 1 and num_samples at least 20; got "
            f"{num_images}, {num_weighted} and {num_samples}"
        )
    for program in (model, guide):
        if isinstance(program, nn.Module):
            program.eval()
    set_seed(seed)
    with validating(False):
        data = images.arguments(slice(num_images))
        model_trace, guide_trace = draw_traces(model, guide, *data)
        check_observed(model_trace)
        divergences = divergences_by_dimension(model_trace, guide_trace)
        halves = _posterior_means(guide, data), _posterior_means(guide, data)
        latents = [
            _latent(name, site, halves[0][name], halves[1][name], divergences[name])
            for name, site in sample_sites(guide_trace).items()
        ]
        x, *given = images.arguments(slice(num_weighted))
        labels = given[0] if given else None
        with Bar("importance weights", len(x) * num_samples, "draws") as bar:
            weigh = bar.counting(partial(checked_log_weights, model, guide))
            log_w = log_weights(model, guide, x, num_samples, labels=labels, weigh=weigh)
    elbo, iwae = (float(iwae_bound(log_w, m).mean()) for m in (1, num_samples))
    return Diagnosis(
        latents=latents,
        num_images=len(data[0]),
        negative_elbo=-elbo,
        negative_iwae=-iwae,
        gap=iwae - elbo,
        num_samples=num_samples,
        num_weighted=len(x),
        effective_sample_size=float(effective_sample_size(log_w).mean()),
        pareto_k=float(pareto_k(log_w).median()),
    )


def effective_sample_size(log_w: Tensor) -> Tensor:
    """The share of (num_samples, B) weighted samples that count, (B,), from 1 / num_samples to 1.

    Raises:
        ValueError: if the weights are of another shape, or NaN or infinite.
    """
    _check_weights(log_w, at_least=1)
    log_w = log_w.double()
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp() / len(log_w)


def pareto_k(log_w: Tensor) -> Tensor:
    """The shape of a generalised Pareto distribution fitted to each image's largest weights, (B,).

    The tail is the largest fifth of the weights, at most 3 sqrt(num_samples) of them.

    Raises:
        ValueError: if the weights are of another shape than (num_samples, B), NaN or infinite, or fewer than 5.

    Source: Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance sampling" (2015).
    """
    _check_weights(log_w, at_least=5)
    size = len(log_w)
    tail = int(min(0.2 * size, 3 * math.sqrt(size)))
    weights = (log_w - log_w.amax(0)).double().exp().sort(0).values
    cut = weights[-tail - 1]
    return torch.tensor([float(fit_generalized_pareto(w - c)[0]) for w, c in zip(weights[-tail:].T, cut, strict=True)])


def _check_weights(log_w: Tensor, at_least: int) -> None:
    if log_w.dim() != 2 or len(log_w) < at_least:
        raise ValueError(f"log_w must be (num_samples, B), of {at_least} samples or more; got {tuple(log_w.shape)}")
    if torch.isnan(log_w).any() or (log_w == math.inf).any():
        raise ValueError("log_w holds NaN or infinite weights")


def _posterior_means(guide: Callable, data: tuple[Tensor, ...], draws: int = 16) -> dict[str, Tensor]:
    """E[z | x] of every latent, (B, D), over several draws of all that it is drawn from."""
    totals: dict[str, Tensor] = {}
    for _ in range(draws):
        with param_store_as_it_was():
            sites = sample_sites(poutine.trace(guide).get_trace(*data))
        for name, site in sites.items():
            try:
                value = site["fn"].mean
            except NotImplementedError:
                value = site["value"]
            totals[name] = totals.get(name, 0.0) + value.flatten(1) / draws
    return totals


def _latent(name: str, site: Any, first: Tensor, second: Tensor, divergence: Tensor) -> Latent:
    q = site["fn"]
    # what two independent estimates of E[z | x] have in common comes from x; for a known mean they are equal
    variance = ((first - first.mean(0)) * (second - second.mean(0))).sum(0) / max(1, len(first) - 1)
    error = (first - second).square().mean(0) / 2 / math.sqrt(len(first))
    unused = (variance <= ACTIVE + 3 * error).nonzero().flatten().tolist()
    own = q.log_prob(site["value"])
    mixed = []
    with Bar(f"mutual information of {name}", len(site["value"]), "images") as bar:
        for part in site["value"].split(50):
            mixed.append(_mixture_log_prob(q, part))
            bar.update(len(part))
    return Latent(
        name=name,
        divergence=divergence.mean(0).tolist(),
        variance_of_means=variance.tolist(),
        active=len(variance) - len(unused),
        unused=unused,
        mutual_information=float((own - torch.cat(mixed)).mean()),
    )


def _mixture_log_prob(q: Any, z: Tensor) -> Tensor:
    """log of the mean over images of q(z | x_n), (M,) for M values."""
    pairs = q.log_prob(z[:, None].expand(len(z), *q.batch_shape, *q.event_shape))
    return pairs.logsumexp(1) - math.log(pairs.shape[1])


def _ranges(numbers: list[int]) -> str:
    """0, 1, 2, 5 as "0-2, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
