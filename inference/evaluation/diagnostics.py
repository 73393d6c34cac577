"""What a trained pair has learned: which coordinates of its latents are used, and how good its guide is."""

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from pyro import poutine
from pyro.ops.stats import fit_generalized_pareto
from pyro.poutine import Trace
from torch import Tensor, nn

from inference.data.images import Images
from inference.programs.importance import checked_log_weights, iwae_bound, log_weights
from inference.programs.param_store import param_store_as_it_was
from inference.programs.support import check_observed
from inference.programs.terms import check_plates, divergences_by_dimension, draw_traces, sample_sites, site_log_prob
from inference.system.progress import Bar
from inference.system.randomness import set_seed
from inference.system.switches import validating


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
        ceiling: that log.  A mutual information at its ceiling says only that the images can be told apart.
        holds_image: whether the latent is of the image's shape and the image is certain given it, as under
            a flow that dequantises it: no coordinate of such a latent can collapse.
    """

    name: str
    divergence: list[float]
    variance_of_means: list[float]
    active: int
    unused: list[int]
    mutual_information: float
    ceiling: float = math.inf
    holds_image: bool = False

    @property
    def at_ceiling(self) -> bool:
        """Whether the mutual information is so near its ceiling that the true one may be any larger number."""
        return self.mutual_information > max(self.ceiling - 0.1, 0.9 * self.ceiling)

    def verdict(self) -> str:
        """In words: is it used, or collapsed."""
        if self.holds_image:
            return f"{self.name} is the image with its pixels made continuous, which cannot collapse"
        total, used = len(self.variance_of_means), self.active
        share = min(max(round(100 * used / total), 1), 99)
        state = "fully used" if used == total else "collapsed" if used == 0 else f"{share} % used"
        which = f"; unused: {_ranges(self.unused)}" if 0 < used < total else ""
        told = f"; it tells the images apart: {self.ceiling:.2f} nats or more" if self.at_ceiling else ""
        return f"{self.name} is {state}: {used} of {total} coordinates are active{which}{told}"


@dataclass(frozen=True)
class Diagnosis:
    """A pair over a set of images.

    Args:
        latents: one by one.
        num_images: behind the numbers of the latents.
        negative_elbo: in nats per image, as all that follow.
        negative_iwae: with ``num_samples`` samples.
        gap: between the two: the guide loses that, or more.
        num_samples: importance samples of each image.
        num_weighted: images behind the weights.
        effective_sample_share: the share of the samples that count, a mean over images.
        pareto_k: of each image's weights, the median over images.
        pareto_k_threshold: min(1 - 1 / log10(num_samples), 0.7); weights of a larger k are not to be
            trusted (Vehtari et al., 2024, section 3.2.4), which a large gap makes likely.
        share_above_threshold: of the images, by their Pareto k.  Equal weights, those of an exact guide,
            are not among them, though their k is infinite.
    """

    latents: list[Latent]
    num_images: int
    negative_elbo: float
    negative_iwae: float
    gap: float
    num_samples: int
    num_weighted: int
    effective_sample_share: float
    pareto_k: float
    pareto_k_threshold: float = 0.7
    share_above_threshold: float = math.nan

    def as_dict(self) -> dict[str, Any]:
        """Plain values, of which JSON can hold each: None for a number that is infinite or not defined."""
        plain = asdict(self) | {"effective_sample_size": self.effective_sample_share}  # its key before
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in plain.items()}

    @property
    def effective_sample_size(self) -> float:
        """``effective_sample_share`` under its old name."""
        message = "Diagnosis.effective_sample_size is deprecated: it is a share, now effective_sample_share"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self.effective_sample_share

    def verdict(self) -> list[str]:
        """In words: is a latent collapsed, and is the guide good enough."""
        trusted = round(self.num_weighted * (1 - self.share_above_threshold))
        return [
            *(latent.verdict() for latent in self.latents),
            f"the guide loses at least {self.gap:.2f} nats an image; its weights can be trusted for {trusted} of "
            f"{self.num_weighted} images at {self.num_samples} samples (Pareto k up to {self.pareto_k_threshold:.2f}; "
            f"the median is {self.pareto_k:.2f}; effective sample size {100 * self.effective_sample_share:.1f} %)",
        ]


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
        check_plates(len(data[0]), model_trace, guide_trace)
        check_observed(model_trace)
        divergences = divergences_by_dimension(model_trace, guide_trace)
        halves = _posterior_means(guide, data), _posterior_means(guide, data)
        latents = [
            _latent(name, site, halves[0][name], halves[1][name], divergences[name], _image_in(site, model_trace))
            for name, site in sample_sites(guide_trace).items()
        ]
        x, *given = images.arguments(slice(num_weighted))
        labels = given[0] if given else None
        with Bar("importance weights", len(x) * num_samples, "draws") as bar:
            weigh = bar.counting(partial(checked_log_weights, model, guide))
            log_w = log_weights(model, guide, x, num_samples, labels=labels, weigh=weigh).cpu()
    k, threshold = pareto_k(log_w), min(1 - 1 / math.log10(num_samples), 0.7)
    elbo, iwae = (float(iwae_bound(log_w, m).mean()) for m in (1, num_samples))
    return Diagnosis(
        latents=latents,
        num_images=len(data[0]),
        negative_elbo=-elbo,
        negative_iwae=-iwae,
        gap=iwae - elbo,
        num_samples=num_samples,
        num_weighted=len(x),
        effective_sample_share=float(effective_sample_share(log_w).mean()),
        pareto_k=float(k.median()),
        pareto_k_threshold=threshold,
        share_above_threshold=float(((k > threshold) & ~_equal(log_w)).double().mean()),
    )


def effective_sample_share(log_w: Tensor) -> Tensor:
    r"""The effective sample size of (num_samples, B) weights as a share of num_samples, (B,).

    .. math:: \frac{(\sum_s w_s)^2}{S \sum_s w_s^2}, \qquad \text{from } 1 / S \text{ to } 1

    Times num_samples it is the number of samples that they are worth.

    Raises:
        ValueError: if the weights are of another shape, or NaN or infinite.
    """
    _check_weights(log_w, at_least=1)
    log_w = log_w.cpu().double()  # which Apple's GPUs do not have
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp() / len(log_w)


def pareto_k(log_w: Tensor) -> Tensor:
    """The shape of a generalised Pareto distribution fitted to each image's largest weights, (B,).

    The tail is the largest fifth of the weights, at most 3 sqrt(num_samples) of them, rounded up, without
    those that equal the largest one below it.  Where fewer than five are left there is no tail to fit, and k
    is infinite: so it is for equal weights, and where one weight is all that counts.

    Raises:
        ValueError: if the weights are of another shape than (num_samples, B), NaN or infinite, or fewer than 5.

    Source: Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance sampling" (2024); infinite
    as in ArviZ.
    """
    _check_weights(log_w, at_least=5)
    size = len(log_w)
    tail = math.ceil(min(size / 5, 3 * math.sqrt(size)))
    largest = log_w.cpu().double().topk(tail + 1, dim=0).values
    return torch.tensor([_tail_shape(column) for column in largest.T])


def _tail_shape(largest: Tensor) -> float:
    """Pareto k of the largest log weights, in falling order, the last of which is the first below the tail."""
    weights = (largest - largest[0]).exp()
    cut = weights[-1].clamp(min=torch.finfo(torch.float64).tiny)
    tail = weights - cut
    tail = tail[tail > 1e-300]  # of smaller numbers the fit would take reciprocals
    return float(fit_generalized_pareto(tail)[0]) if len(tail) > 4 else math.inf


def _equal(log_w: Tensor) -> Tensor:
    """(B,): whether an image's weights differ by no more than rounding."""
    return log_w.amax(0) - log_w.amin(0) <= 1e-5 * log_w.amax(0).abs().clamp(min=1)


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


def _image_in(site: Any, model_trace: Trace) -> Tensor | None:
    """The image, if it is certain given this latent of its shape."""
    observed = [other for other in sample_sites(model_trace).values() if other["is_observed"]]
    if len(observed) != 1 or site["fn"].event_shape != observed[0]["fn"].event_shape:
        return None
    return observed[0]["value"] if (site_log_prob(observed[0]) == 0).all() else None


def _latent(
    name: str, site: Any, first: Tensor, second: Tensor, divergence: Tensor, image: Tensor | None = None
) -> Latent:
    # what two independent estimates of E[z | x] have in common comes from x; for a known mean they are equal
    variance = ((first - first.mean(0)) * (second - second.mean(0))).sum(0) / max(1, len(first) - 1)
    error = (first - second).square().mean(0) / 2 / math.sqrt(len(first))
    unused = (variance <= ACTIVE + 3 * error).nonzero().flatten().tolist()
    return Latent(
        name=name,
        divergence=divergence.mean(0).tolist(),
        variance_of_means=variance.tolist(),
        active=len(variance) - len(unused),
        unused=unused,
        mutual_information=_mutual_information(name, site) if image is None else _entropy(image),
        ceiling=math.log(len(first)),
        holds_image=image is not None,
    )


def _entropy(images: Tensor) -> float:
    """Of a draw from the images: what a latent in which the image is certain tells of it."""
    counts = images.flatten(1).unique(dim=0, return_counts=True)[1].cpu().double()
    return math.log(len(images)) - float((counts * counts.log()).sum()) / len(images)


def _mutual_information(name: str, site: Any) -> float:
    q = site["fn"]
    own = q.log_prob(site["value"])
    mixed = []
    with Bar(f"mutual information of {name}", len(site["value"]), "images") as bar:
        for part in site["value"].split(50):
            mixed.append(_mixture_log_prob(q, part))
            bar.update(len(part))
    return float((own - torch.cat(mixed)).mean())


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
