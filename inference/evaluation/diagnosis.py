"""The record of a diagnosis, and its verdict in words."""

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

ACTIVE = 0.01  # variance of a posterior mean


@dataclass(frozen=True)
class Latent:
    """One latent over a set of observations.

    Args:
        name: of its site.
        divergence: KL(q || p) of each coordinate, a mean over the data, in nats; one number where the
            distributions do not factorise.
        variance_of_means: variance over the data of the posterior mean of each coordinate.
        active: how many of these exceed ``ACTIVE`` = 0.01 (Burda, Grosse and Salakhutdinov, 2016, section 5.2), by
            three standard errors if the posterior mean is itself estimated from draws.
        unused: the numbers of the other coordinates.
        mutual_information: between the latent and the observation, in nats; at most the log of the number
            of observations.  If the guide draws other latents first, between the latent and these with the observation.
        ceiling: that log.  A mutual information at its ceiling only says that the latent tells observations apart.
        holds_image: whether the latent has the image's shape and determines it, as the latent of a
            dequantising flow does: no coordinate of such a latent can collapse.
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
        """Whether the mutual information is so near its ceiling that the true value may be arbitrarily larger."""
        return self.mutual_information > max(self.ceiling - 0.1, 0.9 * self.ceiling)

    def verdict(self) -> str:
        """One line: is the latent used, or collapsed?"""
        if self.holds_image:
            return f"{self.name} is the image with its pixels made continuous, which cannot collapse"
        total, used = len(self.variance_of_means), self.active
        share = min(max(round(100 * used / total), 1), 99)
        state = "fully used" if used == total else "collapsed" if used == 0 else f"{share} % used"
        which = f"; unused: {_ranges(self.unused)}" if 0 < used < total else ""
        distinct = f"; it tells the observations apart: {self.ceiling:.2f} nats or more" if self.at_ceiling else ""
        active = f"active (variance of the posterior mean above {ACTIVE:g})"
        return f"{self.name} is {state}: {used} of {total} coordinates are {active}{which}{distinct}"


@dataclass(frozen=True)
class Diagnosis:
    """A model and its guide over a set of observations.

    Args:
        latents: one record each; none if the model has none.
        num_images: observations behind the numbers of the latents.
        negative_elbo: in nats per observation, for the data as they came, like the next two.
        negative_iwae: with ``num_samples`` samples.
        gap: the difference of these two, the least that the guide loses.
        num_samples: importance samples for each observation.
        num_weighted: observations behind the weights.
        effective_sample_share: effective sample size divided by ``num_samples``, a mean over observations.
        pareto_k: median over observations of the Pareto k of the weights of each.
        pareto_k_threshold: min(1 - 1 / log10(num_samples), 0.7).  Do not trust weights with a larger k
            (Vehtari et al., 2024, section 3.2.4); a large gap makes them likely.
        share_above_threshold: share of the observations whose Pareto k is larger.  Equal weights, those of an
            exact guide, do not count, though their k is infinite.
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
        """Values that JSON can hold: None stands for a number that is infinite or undefined."""
        plain = asdict(self) | {"effective_sample_size": self.effective_sample_share}  # the key in older files
        return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in plain.items()}

    @property
    def effective_sample_size(self) -> float:
        """``effective_sample_share`` under its old name."""
        message = "Diagnosis.effective_sample_size is deprecated: it is a share, now effective_sample_share"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self.effective_sample_share

    def verdict(self) -> list[str]:
        """One line for each latent, and one that says how good the guide is; without latents one line in all."""
        if not self.latents:
            return [
                f"the model has no latents: the bound is log p(x) itself, on average "
                f"{-self.negative_elbo:.2f} nats over {self.num_weighted:,} observations"
            ]
        trusted = round(self.num_weighted * (1 - self.share_above_threshold))
        return [
            *(latent.verdict() for latent in self.latents),
            f"the guide loses at least {self.gap:.2f} nats per observation; its weights can be trusted for {trusted} "
            f"of {self.num_weighted} observations at {self.num_samples} samples (Pareto k up to "
            f"{self.pareto_k_threshold:.2f}; the median is {self.pareto_k:.2f}; the effective sample size is "
            f"{self.effective_sample_share * self.num_samples:.1f})",
        ]


def _ranges(numbers: list[int]) -> str:
    """0, 1, 2, 5 as "0-2, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
