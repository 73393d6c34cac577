"""Importance weights of a guide, and the bounds they give."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from pyro.poutine import Trace
from torch import Tensor

from inference.programs.checks import check_data
from inference.programs.evaluation_mode import evaluating
from inference.programs.failures import describe_error, explain_failure
from inference.programs.particles import check_particles_once
from inference.programs.support import all_in_support, check_observed
from inference.programs.terms import (
    check_reparameterised,
    draw_traces,
    sample_sites,
    site_log_prob,
    wrong_density_shape,
)

# numbers in all (sample, observation) pairs held at once by default: 2^22 floats are 16 MiB
_NUMBERS_AT_ONCE = 2**22
_NUMBERS_A_PAIR = 64  # at least: for vectors of few numbers, hidden layers are what takes the memory


@torch.no_grad()
def log_weights(
    model: Callable,
    guide: Callable,
    x: Tensor,
    num_samples: int,
    chunk_size: int | None = None,
    labels: Tensor | None = None,
    weigh: Callable[..., Tensor] | None = None,
) -> Tensor:
    r"""Log importance weights of draws from the guide.

    .. math:: \log w_s = \log p(x, z_s) - \log q(z_s \mid x), \qquad z_s \sim q(z \mid x)

    with the densities of the drawn latents, never a closed-form divergence.  For a flow over
    pixels the latent is the dequantised image.  Without latents every weight is log p(x).

    ``chunk_size`` bounds the memory, whatever ``num_samples`` is.  The guide runs once for each
    observation, unless the samples of one alone exceed ``chunk_size``.  Modules are put into evaluation
    mode for the call: with dropout, every chunk would weigh draws of other networks.

    Shapes: x is (B, \*shape); the result is (num_samples, B), in nats.

    Args:
        model: Pyro program p(x, latents), called with x, and with labels if there are any.
        guide: Pyro program q(latents | x), called likewise.
        x: observations, as the programs see them.  For standardised data add their ``log_det`` to the result: it
            is then about the data as they came.
        num_samples: draws for each observation.
        chunk_size: most (sample, observation) pairs held at once; by default as many as fill 16 MiB.
        labels: (B,), for a conditional pair: the weights are then those of p(x | label).
        weigh: computes the weights (count, b) from a count and a block of the data in place of the
            pair itself, for example a :class:`~inference.compilation.weigher.Weigher`.

    Raises:
        TypeError: if x is not a tensor of floats of 32 bits or more.
        ValueError: if a number is below 1; if x is empty, not finite or outside the model's support; if
            labels are not one for each observation, or unknown to the model; if model and guide draw different
            latents, or values of different kinds; if a site lies outside the batch's plate, or its
            densities change when many draws are made at once.

    Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016), section 3.

    Example:
        >>> import torch
        >>> from inference import log_weights
        >>> from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal
        >>> model = VAE(StandardNormal(2), MLPDecoder(2, (1, 8, 8)))
        >>> guide = MeanFieldGuide(MLPEncoder((1, 8, 8)), latent_dim=2)
        >>> log_weights(model, guide, torch.zeros(5, 1, 8, 8), num_samples=100).shape
        torch.Size([100, 5])
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {num_samples}")
    check_data(x, labels, getattr(model, "num_classes", None))
    samples_at_once, observations_at_once = block_size(x, num_samples, chunk_size)
    data = (x,) if labels is None else (x, labels)
    if weigh is None:
        check_particles_once(model, guide, *data)
    weigh = weigh or partial(checked_log_weights, model, guide)
    counts = [min(samples_at_once, num_samples - done) for done in range(0, num_samples, samples_at_once)]
    blocks = []
    with evaluating(model, guide):
        for block in zip(*(part.split(observations_at_once) for part in data), strict=True):
            with _failures_explained(model, guide, *block):
                blocks.append(torch.cat([weigh(count, *block) for count in counts]))
    return torch.cat(blocks, dim=1)


def block_size(x: Tensor, num_samples: int, chunk_size: int | None = None) -> tuple[int, int]:
    """The (samples, observations) that :func:`log_weights` holds at once; the last block may have fewer of each.

    Raises:
        ValueError: if ``chunk_size`` is below 1.
    """
    if chunk_size is None:
        chunk_size = max(1, _NUMBERS_AT_ONCE // max(x[0].numel(), _NUMBERS_A_PAIR))
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1; got {chunk_size}")
    samples = min(num_samples, chunk_size)
    return samples, max(1, min(len(x), chunk_size // samples))


@contextmanager
def _failures_explained(model: Callable, guide: Callable, *data: Tensor) -> Iterator[None]:
    """Turn an error raised by a program into one line on what is wrong with the pair."""
    try:
        yield
    except ValueError as error:
        if "Trace Shapes:" not in str(error):  # a page that Pyro adds
            raise
        raise ValueError(describe_error(error, model, guide)) from error
    except (RuntimeError, TypeError, IndexError) as error:  # a program's own error rarely says enough
        reason = explain_failure(model, guide, *(part[:2] for part in data))
        if reason is None and "Trace Shapes:" not in str(error):  # which Pyro adds when a program fails
            raise
        cause = describe_error(error, model, guide)
        raise ValueError(reason or f"model and guide cannot be run with many draws at once: {cause}") from error


def log_weights_with_gradients(model: Callable, guide: Callable, count: int, *data: Tensor) -> Tensor:
    """(count, B) log weights, all at once under one outer plate; data are (x,) or (x, labels).

    Pyro's own ``vectorized_importance_weights`` sums over the batch, and so gives no weight for each observation.

    Raises:
        ValueError: if a latent is not reparameterised: part of the guide's gradient would be missing.
    """
    model_trace, guide_trace = draw_traces(model, guide, *data, particles=count)
    check_reparameterised(guide_trace)
    return _weights_of(model_trace, guide_trace, count, data[0])


def checked_log_weights(model: Callable, guide: Callable, count: int, *data: Tensor) -> Tensor:
    """Log weights as :func:`log_weights_with_gradients`, of data within the model's support.

    Raises:
        ValueError: if the model could not have drawn the data.
    """
    model_trace, guide_trace = draw_traces(model, guide, *data, particles=count)
    check_observed(model_trace)
    return _weights_of(model_trace, guide_trace, count, data[0])


def log_weights_and_support(model: Callable, guide: Callable, count: int, *data: Tensor) -> tuple[Tensor, Tensor]:
    """Log weights, and whether :func:`checked_log_weights` would accept the data, as a tensor that a graph can hold."""
    model_trace, guide_trace = draw_traces(model, guide, *data, particles=count)
    return _weights_of(model_trace, guide_trace, count, data[0]), all_in_support(model_trace)


def _weights_of(model_trace: Trace, guide_trace: Trace, count: int, x: Tensor) -> Tensor:
    return (log_joint(model_trace, x) - log_joint(guide_trace, x)).expand(count, len(x))


def log_joint(trace: Trace, x: Tensor) -> Tensor:
    """The log-densities of a trace's sites, summed for each particle and observation; a single 0 if there is none.

    Raises:
        ValueError: if a site lies outside the batch's plate.
    """
    total = x.new_zeros(())
    for name, site in sample_sites(trace).items():
        log_prob = site_log_prob(site)
        if log_prob.shape[-1:] != x.shape[:1]:
            raise ValueError(wrong_density_shape(name, log_prob.shape, f"(..., {len(x)})"))
        total = total.to(log_prob) + log_prob
    return total


def iwae_bound(log_w: Tensor, m: int) -> Tensor:
    r"""The importance-weighted bound on log p(x), one value for each observation.

    .. math:: L_m(x) = E \Big[ \log \frac1m \sum_{i=1}^m w_i \Big] \le \log p(x)

    estimated by the mean over all disjoint groups of m samples.  One set of samples serves every m
    up to its size; a last, incomplete group is left out.  m = 1 is the ELBO, and the bound never
    falls as m grows.

    Shapes: log_w is (num_samples, B); the result is (B,), in nats.

    Raises:
        ValueError: if m is below 1 or above num_samples, or a weight is NaN or infinite.

    Source: Burda, Grosse and Salakhutdinov (2016), section 3 and theorem 1.

    Example:
        >>> import math, torch
        >>> from inference import iwae_bound
        >>> log_w = torch.tensor([[1.0], [3.0]]).log()  # two samples for one observation
        >>> [round(math.exp(iwae_bound(log_w, m)), 3) for m in (1, 2)]
        [1.732, 2.0]
    """
    if log_w.dim() != 2:
        raise ValueError(f"log_w must be (num_samples, B); got {tuple(log_w.shape)}")
    if torch.isnan(log_w).any() or (log_w == math.inf).any():
        raise ValueError("log_w holds NaN or infinite weights")
    num_samples = len(log_w)
    if not isinstance(m, int):
        raise TypeError(f"m must be a whole number; got {m!r}")
    if not 1 <= m <= num_samples:
        raise ValueError(f"m must be from 1 to the number of samples, {num_samples}; got {m}")
    groups = num_samples // m
    grouped = log_w[: groups * m].unflatten(0, (groups, m))
    return (grouped.logsumexp(1) - math.log(m)).mean(0)


def bits_per_dim(nats: Tensor | float, image_shape: tuple[int, ...]) -> Tensor | float:
    """Nats per observation as bits per dimension, for images per pixel and channel: nats / (D log 2).

    Args:
        nats: of observations of D numbers.
        image_shape: their shape, or (D,).

    Raises:
        ValueError: if they hold no numbers.

    Example:
        >>> import math
        >>> from inference import bits_per_dim
        >>> bits_per_dim(64 * math.log(2), (1, 8, 8))
        1.0
    """
    if not math.prod(image_shape) > 0:
        raise ValueError(f"image_shape must be whole numbers of at least 1; got {tuple(image_shape)}")
    return nats / (math.prod(image_shape) * math.log(2))
