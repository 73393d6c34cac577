"""How much importance weights can be trusted: effective sample size and Pareto k."""

import math

import torch
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor


def effective_sample_share(log_w: Tensor) -> Tensor:
    r"""The effective sample size of each observation's weights, divided by the number of samples.

    .. math:: \frac{\mathrm{ESS}}{S} = \frac{(\sum_s w_s)^2}{S \sum_s w_s^2}, \qquad \text{from } 1 / S \text{ to } 1

    Multiply by num_samples for the effective sample size itself, a number of samples as in ArviZ.

    Shapes: log_w is (num_samples, B); the result is (B,).

    Raises:
        ValueError: if the weights have another shape, or are NaN or infinite.

    Example:
        >>> import torch
        >>> from inference import effective_sample_share
        >>> log_w = torch.tensor([[0.0, 0.0], [0.0, -99.0]])  # two samples for each of two observations
        >>> effective_sample_share(log_w).tolist()
        [1.0, 0.5]
    """
    _check_weights(log_w, at_least=1)
    log_w = log_w.cpu().double()  # Apple's GPUs have no doubles
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp() / len(log_w)


def pareto_k(log_w: Tensor) -> Tensor:
    """The shape of a generalised Pareto distribution fitted to the largest weights of each observation.

    The tail is the largest fifth of the weights, at most 3 sqrt(num_samples) of them, rounded up, without
    those equal to the largest one below it.  If fewer than five are left there is no tail to fit and k is
    infinite, for example if all weights are equal, or if a single one dominates.

    Shapes: log_w is (num_samples, B); the result is (B,).

    Raises:
        ValueError: if the weights have another shape, are NaN or infinite, or fewer than 5.

    Source: Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance sampling" (2024); infinite
    as in ArviZ.

    Example:
        >>> import torch
        >>> from inference import pareto_k
        >>> log_w = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
        >>> bool((pareto_k(log_w) < 0.7).all())
        True
    """
    _check_weights(log_w, at_least=5)
    size = len(log_w)
    tail = math.ceil(min(size / 5, 3 * math.sqrt(size)))
    largest = log_w.cpu().double().topk(tail + 1, dim=0).values
    return torch.tensor([_tail_shape(column) for column in largest.T], device="cpu")


def _tail_shape(largest: Tensor) -> float:
    """Pareto k of the largest log weights, in falling order; the last one is the first below the tail."""
    weights = (largest - largest[0]).exp()
    cut = weights[-1].clamp(min=torch.finfo(torch.float64).tiny)
    tail = weights - cut
    tail = tail[tail > 1e-300]  # the fit takes reciprocals
    return float(fit_generalized_pareto(tail)[0]) if len(tail) > 4 else math.inf


def are_equal(log_w: Tensor) -> Tensor:
    """(B,): whether an observation's weights differ by no more than rounding."""
    return log_w.amax(0) - log_w.amin(0) <= 1e-5 * log_w.amax(0).abs().clamp(min=1)


def _check_weights(log_w: Tensor, at_least: int) -> None:
    if log_w.dim() != 2 or len(log_w) < at_least:
        raise ValueError(f"log_w must be (num_samples, B), of {at_least} samples or more; got {tuple(log_w.shape)}")
    if torch.isnan(log_w).any() or (log_w == math.inf).any():
        raise ValueError("log_w holds NaN or infinite weights")
