"""Observed values outside the support of their distribution, whose density would mean nothing."""

from typing import Any

import torch
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Distribution, constraints

from inference.programs.in_support import in_support, innermost
from inference.programs.terms import sample_sites


def check_observed(trace: Trace) -> None:
    """Make sure that everything a model observes lies in the support of its distribution.

    Each site is checked once, on the observed value alone, whatever the number of particles.  If the
    support depends on the latents, a value must lie in it for at least one particle.

    Raises:
        ValueError: if a value does not; one line names the site, the first such value and the support.
    """
    for name, site in sample_sites(trace).items():
        if site["is_observed"]:
            _check(f"site {name!r} is shown", site["fn"], site["value"], site["mask"])


def check_in_support(p: Distribution, x: Tensor) -> None:
    """Make sure that observations lie in the support of their distribution.

    Raises:
        ValueError: as :func:`check_observed`.
    """
    _check("x holds", p, x)


def all_in_support(trace: Trace) -> Tensor:
    """Whether :func:`check_observed` would pass, as a tensor that a graph can hold."""
    observed = [site for site in sample_sites(trace).values() if site["is_observed"]]
    outside = [_outside(site["fn"], site["value"], site["mask"]) for site in observed]
    found = [part.any() for part in outside if part is not None]
    return ~torch.stack(found).any() if found else torch.ones((), dtype=torch.bool)


def _check(what: str, fn: Distribution, value: Tensor, mask: Any = None) -> None:
    outside = _outside(fn, value, mask)
    if outside is None or not outside.any() or value.isnan().any():  # NaN shows in every number
        return
    support = _plain(fn.support)
    places = ~support.check(value)
    found = f"values in {int(outside.sum()):,} of {outside.numel():,} observations"
    if places.shape == value.shape:
        found = f"{float(value[places][0]):.6g} at {int(places.sum()):,} of {places.numel():,} places"
    raise ValueError(
        f"{what} {found}, but a {type(innermost(fn)).__name__} takes {_named(support)}: binarise grey "
        "images for a model of binary pixels, and show any model only what it could draw"
    )


def _outside(fn: Any, value: Tensor, mask: Any = None) -> Tensor | None:
    """Which elements of a batch lie outside the support for every particle; None if the support is unknown."""
    inside = in_support(fn, value)
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
