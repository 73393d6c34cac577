"""Whether a program means the same with many draws of its latents at once as with one."""

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.poutine import Trace
from torch import Tensor, nn

from inference.programs.buffers import buffers_as_they_were
from inference.programs.evaluation_mode import evaluating
from inference.programs.param_store import param_store_unchanged
from inference.programs.terms import in_particles, sample_sites, site_log_prob, trace_at
from inference.system.randomness import generators_as_they_were
from inference.system.switches import validating

_ROUNDINGS = 100  # by so many, times the size of a density, two ways to compute it may differ
_TF32 = 1e-5  # a GPU may multiply matrices with errors of 100 times this
_PASSED: weakref.WeakKeyDictionary[Callable, weakref.WeakSet[Callable]] = weakref.WeakKeyDictionary()


def check_particles_once(model: Callable, guide: Callable, *data: Tensor) -> None:
    """Like :func:`check_particles`, but a pair that has passed is not checked again: that takes tens of milliseconds.

    Raises:
        ValueError: as :func:`check_particles`.
    """
    try:
        if guide in _PASSED.get(model, ()):
            return
        check_particles(model, guide, *data)
        _PASSED.setdefault(model, weakref.WeakSet()).add(guide)
    except TypeError:  # a callable that cannot be remembered
        check_particles(model, guide, *data)


@torch.no_grad()
@generators_as_they_were()
def check_particles(model: Callable, guide: Callable, *data: Tensor) -> None:
    r"""Make sure that each of several draws, made at once, has the densities that it has alone.

    Particles add a dimension on the left: latents are (S, B, \*event), and ``z[:, 0]`` is no longer a coordinate.
    Such a program may still run, and give a number that is wrong.  The pair runs on two of the observations.
    Programs that cannot run, or whose densities are random, pass; nothing changes by it.

    Raises:
        ValueError: if a density is another; one line names the site.
    """
    rows = _two_rows(data[0])
    modules = [program for program in (model, guide) if isinstance(program, nn.Module)]
    with (
        evaluating(model, guide),
        buffers_as_they_were(*modules),
        param_store_unchanged(),
        validating(False),
        warnings.catch_warnings(action="ignore"),  # whoever runs the programs next repeats them
        torch.autocast(data[0].device.type, enabled=False),
    ):
        # as many as observations: what mixes up the two dimensions then runs.  One: what other numbers may break
        for count in (2, 1):
            different = _different_site(model, guide, count, *(part[rows] for part in data))
            if different is not None:
                raise ValueError(
                    f"site {different[0]!r} of the {different[1]} gives other log-densities when several draws of the "
                    "latents are made at once: index from the right, z[..., 0] and not z[:, 0], because programs are "
                    "run with many draws at once, which add a dimension on the left"
                )


def _two_rows(x: Tensor) -> list[int]:
    """The first observation and one that differs from it, or else any."""
    others = (x != x[:1]).reshape(len(x), -1).any(1).nonzero()
    return [0, int(others[0]) if len(others) else len(x) - 1]


def _different_site(model: Callable, guide: Callable, count: int, *data: Tensor) -> tuple[str, str] | None:
    """The first site whose densities differ between particles and single draws, and its half, if there is one."""
    try:
        together = poutine.trace(in_particles(guide, count)).get_trace(*data)
        if not sample_sites(together):
            return None
        joint = trace_at(model, together, count, *data)
        alone, again = (
            [_alone(model, guide, together, particle, shrink, *data) for particle in range(count)]
            for shrink in (False, True)
        )
        for number, (half, trace) in enumerate({"guide": together, "model": joint}.items()):
            for name, site in sample_sites(trace).items():
                singles, repeated = (torch.stack([pair[number][name] for pair in runs]) for runs in (alone, again))
                if _differ(_by_particle(site_log_prob(site), count), singles, repeated):
                    return name, half
    except Exception:  # a user's own programs may raise anything; whoever runs them next says what
        return None
    return None


def _alone(
    model: Callable, guide: Callable, together: Trace, particle: int, shrink: bool, *data: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The log-densities of the guide's sites and of the model's, without particles, at the latents of one of them."""
    draws = Trace()
    for name, site in sample_sites(together).items():
        draws.add_node(name, **{**site, "value": _single(site, particle, shrink)})
    traces = [poutine.trace(poutine.replay(half, trace=draws)).get_trace(*data) for half in (guide, model)]
    of_guide, of_model = ({name: site_log_prob(site) for name, site in sample_sites(trace).items()} for trace in traces)
    return of_guide, of_model


def _single(site: Any, particle: int, shrink: bool) -> Tensor:
    """A particle's value of a latent, as the program draws it alone; shrunk by a few roundings if asked to."""
    value, dim = site["value"], -2 - site["fn"].event_dim
    part = value.select(dim, particle) if value.dim() == -dim else value.narrow(dim, particle, 1)
    return part * (1 - 4 * torch.finfo(part.dtype).eps) if shrink and part.is_floating_point() else part


def _by_particle(log_prob: Tensor, count: int) -> Tensor:
    """Densities (..., S, B), or the same for all particles, with those of a particle first."""
    log_prob = log_prob.expand(*log_prob.shape[:-2], count, log_prob.shape[-1])
    return log_prob.movedim(-2, 0)


def _differ(together: Tensor, alone: Tensor, again: Tensor) -> bool:
    """Whether densities differ by more than rounding, and more than they do between latents that differ by rounding."""
    alone, again = (part.reshape(len(part), *part.shape[1:-2], part.shape[-1]) for part in (alone, again))
    noise = (again - alone).abs().amax()
    rounding = torch.finfo(alone.dtype).eps if alone.device.type == "cpu" else _TF32
    allowed = _ROUNDINGS * (rounding * alone.abs().clamp(min=1) + noise)
    return bool(((together - alone).abs() > allowed).any() or (together.isfinite() != alone.isfinite()).any())
