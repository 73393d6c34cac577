"""The two terms of a negative ELBO, read from a pair of traces."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import zip_longest
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta, constraints
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from inference.programs.in_support import in_support, innermost
from inference.programs.param_store import param_store_unchanged
from inference.system.processes import of_every_process, rank_and_size


class Terms(NamedTuple):
    r"""negative ELBO = kl + reconstruction, each of shape (B,) or (S, B), in nats per observation.

    .. math::
        \mathrm{kl} = \sum_{\mathrm{latents}} KL(q(z \mid x)\, \|\, p(z)), \qquad
        \mathrm{reconstruction} = -\log p(x \mid z), \quad z \sim q(z \mid x)
    """

    kl: Tensor
    reconstruction: Tensor

    @property
    def negative_elbo(self) -> Tensor:
        return self.kl + self.reconstruction


def draw_traces(model: Callable, guide: Callable, *data: Tensor, particles: int | None = None) -> tuple[Trace, Trace]:
    """A trace of the guide, and one of the model at the guide's draws; returns (model's, guide's).

    Both are called with the data: (x,), or (x, labels), under an outer plate if there are ``particles``.

    Raises:
        ValueError: if the two do not draw the same latents, of the same event shapes.
    """
    with param_store_unchanged():
        guide_trace = poutine.trace(in_particles(guide, particles)).get_trace(*data)
        model_trace = trace_at(model, guide_trace, particles, *data)
    check_sites(model_trace, guide_trace)
    return model_trace, guide_trace


def trace_at(model: Callable, guide_trace: Trace, particles: int | None, *data: Tensor) -> Trace:
    """A trace of the model at the guide's draws; without draws all particles are alike, and it runs for one."""
    program = in_particles(model, particles if sample_sites(guide_trace) else None)
    return poutine.trace(poutine.replay(program, trace=guide_trace)).get_trace(*data)


def in_particles(program: Callable, count: int | None) -> Callable:
    """The program inside an outer plate of independent particles, if a number of them is given."""

    def run(*data: Tensor) -> None:
        with pyro.plate("particles", count, dim=-2) if count is not None else nullcontext():
            program(*data)

    return run


def check_sites(model_trace: Trace, guide_trace: Trace) -> None:
    """Make sure that both draw the same latents: the density of any other would be missing from every number.

    A model that observes all its sites has no latents, and its guide draws nothing.
    """
    model = {name: site for name, site in sample_sites(model_trace).items() if not site["is_observed"]}
    guide = sample_sites(guide_trace)
    observed = [name for name, site in guide.items() if site["is_observed"]]
    if observed:
        raise ValueError(
            f"the guide observes {', '.join(observed)}, but a guide draws latents alone: leave obs= to the model "
            "(are model and guide swapped?)"
        )
    if len(model) == len(sample_sites(model_trace)):
        raise ValueError("the model observes nothing: pass the data to one of its sites, pyro.sample(..., obs=x)")
    if auxiliary := [name for name, site in guide.items() if site["infer"].get("is_auxiliary")]:
        raise ValueError(
            f"the guide draws {', '.join(auxiliary)}, as Pyro's autoguides do, which do not depend on the data: write "
            "q(latents | x) as a program that is called with them"
        )
    if model.keys() != guide.keys():
        raise ValueError(
            f"model and guide must draw the same latents; the model draws {sorted(model)}, "
            f"the guide {sorted(guide)}: give them the same names, and all of the model's data obs=; a model with two "
            "levels of codes (TwoLevelVAE) needs a guide for two (TwoLevelGuide, TopDownGuide), and the other way round"
        )
    check_shapes(*({name: tuple(site["fn"].event_shape) for name, site in half.items()} for half in (model, guide)))
    for name in model:
        check_kinds(name, model[name]["fn"], guide[name]["fn"])


def check_shapes(model: dict[str, tuple[int, ...]], guide: dict[str, tuple[int, ...]]) -> None:
    """Make sure that latents of the same name have the same event shape."""
    for name in model.keys() & guide.keys():
        if model[name] != guide[name]:
            raise ValueError(
                f"latent {name!r} has event shape {model[name]} in the model but {guide[name]} in the guide: give both "
                "the same size, and declare its dimensions with .to_event(...)"
            )


def check_kinds(name: str, p: Any, q: Any) -> None:
    """Make sure that a latent has densities in both halves, or probabilities in both: others have no ratio."""
    kinds = {kind_of(p), kind_of(q)} - {None}
    if len(kinds) > 1 and "continuous" in kinds:
        raise ValueError(
            f"latent {name!r} is drawn from a {type(innermost(p)).__name__} in the model but a "
            f"{type(innermost(q)).__name__} in the guide: a density and a probability, or a single point, have no "
            "ratio, and so give no bound; draw it from a distribution of the same kind of values in both"
        )


def kind_of(fn: Any) -> str | None:
    """What a distribution's log-density refers to: a "point", "discrete" or "continuous" values; None if unknown."""
    if isinstance(innermost(fn), Delta):
        return "point"
    try:
        return "discrete" if fn.support.is_discrete else "continuous"
    except (AttributeError, NotImplementedError):
        return None


def check_reparameterised(guide_trace: Trace) -> None:
    """Make sure that every latent's draws have a gradient: without it, that of the guide would be incomplete.

    Raises:
        ValueError: if a latent has no ``rsample``.
    """
    for name, site in sample_sites(guide_trace).items():
        if not site["fn"].has_rsample:
            raise ValueError(f"latent {name!r} must be reparameterised for this objective: take Trace_ELBO")


def check_plates(size: int, *traces: Trace) -> None:
    """Make sure that every site has one density for each observation in a batch of this size.

    Raises:
        ValueError: if not: a sum or a mean over observations would mean something else.
    """
    for trace in traces:
        for name, site in sample_sites(trace).items():
            if site["fn"].batch_shape != (size,):
                raise ValueError(wrong_density_shape(name, site["fn"].batch_shape, f"({size},)"))


def wrong_density_shape(name: str, shape: Sequence[int], expected: str) -> str:
    """The message about a site whose densities have this shape."""
    return (
        f"site {name!r} gives log-densities of shape {tuple(shape)} where one for each observation, {expected}, was "
        "expected: put it inside the plate of the batch, and no other, and declare its event dimensions with "
        ".to_event(...)"
    )


def elbo_terms(model_trace: Trace, guide_trace: Trace, closed_form: bool = True) -> Terms:
    """The terms of one draw of the latents, one value for each observation.

    The divergence of a latent has closed form if PyTorch knows one for its two distributions;
    otherwise, and without ``closed_form``, it is log q - log p at the drawn value.  If guide and model
    draw their latents in different orders it is never closed: p may depend on a draw that depends on
    this latent, and the closed form would be another number.

    Source: Kingma and Welling, "Auto-encoding variational Bayes" (2014), equation 7; closed form,
    appendix B.  Without latents the divergence is 0.
    """
    latents, observed = sample_sites(guide_trace), sample_sites(model_trace)
    closed_form = closed_form and in_the_same_order(model_trace, guide_trace)
    kl = [_kl(site, model_trace.nodes[name], closed_form) for name, site in latents.items()]
    reconstruction = [-site_log_prob(site) for site in observed.values() if site["is_observed"]]
    return Terms(_sum(kl) if kl else torch.zeros_like(reconstruction[0]), _sum(reconstruction))


def _sum(parts: list[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])


def in_the_same_order(model_trace: Trace, guide_trace: Trace) -> bool:
    """Whether model and guide draw their latents in the same order."""
    latents = list(sample_sites(guide_trace))
    return latents == [name for name in sample_sites(model_trace) if name in latents]


def sample_sites(trace: Trace) -> dict[str, Any]:
    """The sample sites of a trace by name, without subsampling and ``pyro.deterministic``."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site) and not (site["infer"] or {}).get("_deterministic")
    }


def _kl(guide_site: Any, model_site: Any, closed_form: bool) -> Tensor:
    if closed_form and _masked_alike(guide_site, model_site):
        try:
            return scale_and_mask(kl_divergence(guide_site["fn"], model_site["fn"]), mask=guide_site["mask"])
        except NotImplementedError:
            pass
    return site_log_prob(guide_site) - site_log_prob(model_site)


def _masked_alike(guide_site: Any, model_site: Any) -> bool:
    """Whether both programs mask the same elements of a latent, as the closed form needs."""
    first, second = (None if site["mask"] is True else site["mask"] for site in (guide_site, model_site))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return first is second


def divergences_by_dimension(model_trace: Trace, guide_trace: Trace) -> dict[str, Tensor]:
    """KL(q || p) of every latent's coordinates, (B, D); (B, 1) if the distributions do not factorise."""
    closed_form = in_the_same_order(model_trace, guide_trace)
    return {
        name: _kl_by_dimension(site, model_trace.nodes[name], closed_form)
        for name, site in sample_sites(guide_trace).items()
    }


def _kl_by_dimension(guide_site: Any, model_site: Any, closed_form: bool) -> Tensor:
    q, p = guide_site["fn"], model_site["fn"]
    mask = guide_site["mask"][..., None] if isinstance(guide_site["mask"], Tensor) else guide_site["mask"]
    same = closed_form and _masked_alike(guide_site, model_site)
    if same and isinstance(q, Independent) and isinstance(p, Independent):
        try:
            parts = kl_divergence(q.base_dist, p.base_dist).flatten(len(q.batch_shape))
            return scale_and_mask(parts, mask=mask)
        except NotImplementedError:
            pass
    return _kl(guide_site, model_site, closed_form)[..., None]


def site_log_prob(site: Any) -> Tensor:
    """The log-density of a traced site at its value, with its mask but without ``poutine.scale``.

    For a latent drawn outside the support it is minus infinity, even if the distribution's formula
    gives a number there.
    """
    if site.get("unscaled_log_prob") is None:  # Pyro's estimators keep it under this key too
        site["unscaled_log_prob"] = site["fn"].log_prob(site["value"])
        outside = None if site["is_observed"] else _outside(site["fn"], site["value"])
        if outside is not None:
            site["unscaled_log_prob"] = site["unscaled_log_prob"].masked_fill(outside, -math.inf)
    return scale_and_mask(site["unscaled_log_prob"], mask=site["mask"])


def _outside(fn: Any, value: Tensor) -> Tensor | None:
    """Which values, except NaN, lie outside the support; None if it is all real numbers, or unknown."""
    try:
        support = fn.support
    except NotImplementedError:
        return None
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    inside = None if support is constraints.real else in_support(fn, value)
    if inside is None:
        return None
    nan = value.isnan()
    return ~inside & ~(nan.flatten(-fn.event_dim).any(-1) if fn.event_dim else nan)


def mean_terms(terms: Sequence[Terms]) -> Terms:
    """The mean over observations of several batches' terms, as scalars."""
    return Terms(
        torch.cat([t.kl.flatten() for t in terms]).mean(),
        torch.cat([t.reconstruction.flatten() for t in terms]).mean(),
    )


def batches_joined(terms: list[Terms]) -> list[Terms]:
    """The terms of all processes' observations, batch by batch."""
    if rank_and_size()[1] == 1:
        return terms
    rows = zip_longest(*of_every_process([(t.kl.cpu(), t.reconstruction.cpu()) for t in terms]))
    return [Terms(*(torch.cat(parts, dim=-1) for parts in zip(*filter(None, row), strict=True))) for row in rows]
