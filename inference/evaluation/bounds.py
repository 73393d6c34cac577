"""Importance-weighted bounds over a whole data set, with standard errors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from inference.compilation.weigher import Weigher
from inference.data.protocol import DataSet
from inference.evaluation.observed import observed
from inference.programs.checks import check_levels
from inference.programs.evaluation_mode import evaluating
from inference.programs.importance import block_size, iwae_bound, log_weights
from inference.programs.units import check_measures
from inference.system.processes import rank_and_size, share_of, shares_joined
from inference.system.products import Products, Wanted, chosen_products, products_by
from inference.system.progress import Bar
from inference.system.randomness import generators_as_they_were, set_seed
from inference.system.renamed import renamed
from inference.system.switches import validating

_WORTH_A_TRY = 300_000  # draws: a try takes a tenth of a second


@dataclass(frozen=True)
class Estimate:
    """A negative bound averaged over observations and repeats, in nats per observation.

    Args:
        value: the mean.
        standard_error: how much another run on the same data, with other binarisations and latents, would vary; from
            the variance over repeats of each observation, so that two repeats are enough.  None for one repeat.
        standard_error_over_images: how much another test set of this size would vary.  None for one observation.
    """

    value: float
    standard_error: float | None
    standard_error_over_images: float | None

    def scaled(self, factor: float) -> "Estimate":
        """The same estimate in another unit."""
        errors = (self.standard_error, self.standard_error_over_images)
        return Estimate(self.value * factor, *(None if error is None else error * factor for error in errors))

    def as_dict(self) -> dict[str, float | None]:
        return asdict(self)


@renamed(images="data")
@generators_as_they_were()
def negative_bounds(
    model: Callable,
    guide: Callable,
    data: DataSet,
    ms: Sequence[int] = (5, 50, 150),
    repeats: int = 5,
    batch_size: int = 200,
    chunk_size: int | None = None,
    seed: int = 0,
    products: Wanted = "auto",
) -> dict[int, Estimate]:
    r"""-L_m(x) averaged over all data, for every m at once.

    Each repeat observes the data again and draws max(ms) latents for each observation; every m groups the same draws.
    Under dynamic binarisation the pixels are fresh in every repeat, and on a CPU the same for every pair.  m = 1 is
    the negative ELBO with the sampled divergence; without latents every m gives -log p(x).  The densities are those
    of the data as they came.  Several processes measure their shares of the data and return the same result.
    On a CPU, long estimates multiply float32 matrices by oneDNN where a try finds it faster than PyTorch's
    default, with errors of float32 size; with ``products="default"`` none do.
    Pyro's ``RenyiELBO(alpha=0).loss`` would give one m at a time, summed over the batch, without a standard error.

    Raises:
        ValueError: if an m or a number is below 1, or the data do not suit the model, or hold values
            that it could not draw; if a program cannot take many draws at once; if standardised data are observed in
            part.
        FloatingPointError: if the result is not finite.

    Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016), section 5.

    Example:
        >>> from inference import binarise, load_dataset, negative_bounds
        >>> from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal
        >>> test = binarise(load_dataset("digits")[1], "static").take(slice(20))
        >>> model = VAE(StandardNormal(2), MLPDecoder(2, (1, 8, 8)))
        >>> guide = MeanFieldGuide(MLPEncoder((1, 8, 8)), latent_dim=2)
        >>> bounds = negative_bounds(model, guide, test, ms=(1, 10), repeats=2)
        >>> bounds[10].value < bounds[1].value
        True
    """
    for name, value in {"m": min(ms, default=0), "repeats": repeats, "batch_size": batch_size}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    check_levels(model, data)
    check_measures(model, guide, data)
    ms = sorted(set(ms))
    share, (rank, _) = share_of(len(data)), rank_and_size()
    repeated = {m: _Repeated(m, len(data)) for m in ms}
    draws = repeats * len(share) * max(ms)
    weigh = Weigher(model, guide, pairs=draws)
    first = next(iter(data.batches(batch_size, share)))
    count, size = block_size(first[0], max(ms), chunk_size)
    library = products_for(products, repeats * len(data) * max(ms), first[0].device)
    what = f"bounds, m = {', '.join(map(str, ms))}"
    with evaluating(model, guide), products_by(library):
        weigh.prepare(count, *(part[:size] for part in first))
    with evaluating(model, guide), products_by(library), Bar(what, draws, "draws") as bar, validating(False):
        for repeat in range(repeats):
            set_seed(seed, repeat, rank)
            bounds: dict[int, list[Tensor]] = {m: [] for m in ms}
            for x, *rest in observed(data, batch_size, first[0].device, seed, repeat):
                labels = rest[0] if rest else None
                log_w = log_weights(model, guide, x, max(ms), chunk_size, labels, bar.counting(weigh))
                for m in ms:
                    bounds[m].append(-iwae_bound(log_w, m).cpu().double())
            for m in ms:
                repeated[m].add(shares_joined(torch.cat(bounds[m])) - data.log_det)
    return {m: repeated[m].estimate() for m in ms}


def products_for(wanted: Wanted, draws: int, device: torch.device) -> Products:
    """What multiplies float32 matrices in an estimate of so many draws."""
    return chosen_products(wanted, draws >= _WORTH_A_TRY, device)


class _Repeated:
    """Negative bounds of the same observations, repeat by repeat.

    Source: Welford, "Note on a method for calculating corrected sums of squares and products" (1962).
    """

    def __init__(self, m: int, size: int) -> None:
        self.m = m
        self.repeats = 0
        self.mean = torch.zeros(size, dtype=torch.float64, device="cpu")
        self.squares = torch.zeros(size, dtype=torch.float64, device="cpu")  # of deviations from the mean

    def add(self, negative: Tensor) -> None:
        """Take in one repeat, (N,)."""
        value = float(negative.mean())
        if not math.isfinite(value):
            raise FloatingPointError(f"the bound for m = {self.m} is {value}: some observation has no density, or NaN")
        self.repeats += 1
        before = negative - self.mean
        self.mean += before / self.repeats
        self.squares += before * (negative - self.mean)

    def estimate(self) -> Estimate:
        """The mean over repeats and observations; an observation's draws are independent of all others'."""
        size, repeats = len(self.mean), self.repeats
        over_repeats = float(self.squares.sum() / (repeats - 1) / repeats) ** 0.5 / size if repeats > 1 else None
        over_images = float(self.mean.std()) / math.sqrt(size) if size > 1 else None
        return Estimate(float(self.mean.mean()), over_repeats, over_images)
