"""Observed values that no draw of a model could be: their density is no number that means anything."""

from typing import Any

import torch
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Distribution, constraints

from inference.programs.inside import innermost, is_inside
from inference.programs.terms import sample_sites


def check_observed(trace: Trace) -> None:
    """Make sure that what a model observes lies in the supports of its distributions.

    The support is asked for once for each site, of the observed value alone, whatever the number of
    particles is.  Where it depends on the latents, a value must lie in it for one particle at least.

    Raises:
        ValueError: if not; one line names the site, the first such value, and what was expected.
    """
    for name, site in sample_sites(trace).items():
        if site["is_observed"]:
            _check(f"site {name!r} is shown", site["fn"], site["value"], site["mask"])


def check_in_support(p: Distribution, x: Tensor) -> None:
    """Make sure that images lie in the support of their distribution.

    Raises:
        ValueError: as in :func:`check_observed`.
    """
    _check("x holds", p, x)


def all_in_support(trace: Trace) -> Tensor:
    """Whether :func:`check_observed` would find nothing to refuse, as a tensor: a graph can hold it."""
    observed = [site for site in sample_sites(trace).values() if site["is_observed"]]
    outside = [_outside(site["fn"], site["value"], site["mask"]) for site in observed]
    found = [part.any() for part in outside if part is not None]
    return ~torch.stack(found).any() if found else torch.ones((), dtype=torch.bool)


def _check(what: str, fn: Distribution, value: Tensor, mask: Any = None) -> None:
    outside = _outside(fn, value, mask)
    if outside is None or not outside.any() or value.isnan().any():  # NaN makes its numbers NaN, for all to see
        return
    support = _plain(fn.support)
    places = ~support.check(value)
    found = f"values in {int(outside.sum()):,} of {outside.numel():,} images"
    if places.shape == value.shape:
        found = f"{float(value[places][0]):.6g} at {int(places.sum()):,} of {places.numel():,} places"
    raise ValueError(
        f"{what} {found}, but a {type(innermost(fn)).__name__} takes {_named(support)}: binarise grey "
        "images for a model of binary pixels, and show any model only what it could draw"
    )


def _outside(fn: Any, value: Tensor, mask: Any = None) -> Tensor | None:
    """Which elements of a batch lie outside the support, whatever the particle; None where there is nothing to ask."""
    inside = is_inside(fn, value)
    if inside is None or mask is False:
        return None
    outside = ~inside
    if isinstance(mask, Tensor):
        outside = outside & mask.bool()
    while outside.dim() > 1:
        outside = outside.all(0)
    return outside


def _plain(support: Any) -> Any:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def _named(support: Any) -> str:
    if support is constraints.boolean:
        return "0 or 1"
    if isinstance(support, type(constraints.integer_interval(0, 1))):
        return f"whole numbers from {support.lower_bound} to {support.upper_bound}"
    return f"values in {support}"
