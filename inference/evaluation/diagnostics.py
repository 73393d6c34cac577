"""Diagnose a trained pair: which coordinates of its latents are used, and how good is its guide?"""

import math
from collections.abc import Callable
from functools import partial

import torch

from inference.data.protocol import DataSet
from inference.evaluation.diagnosis import Diagnosis
from inference.evaluation.latents import latent_records
from inference.evaluation.weights import are_equal, effective_sample_share, pareto_k
from inference.programs.evaluation_mode import evaluating
from inference.programs.importance import block_size, checked_log_weights, iwae_bound, log_weights
from inference.programs.units import check_measures
from inference.system.progress import Bar
from inference.system.randomness import generators_as_they_were, set_seed
from inference.system.renamed import renamed
from inference.system.switches import validating

_DRAWS_AT_ONCE = 1000  # larger blocks are slower under a mixture of many components, and progress stands still


@renamed(images="data")
@torch.no_grad()
@generators_as_they_were()
def diagnose(
    model: Callable,
    guide: Callable,
    data: DataSet,
    num_images: int = 1000,
    num_weighted: int = 100,
    num_samples: int = 5000,
    seed: int = 0,
) -> Diagnosis:
    r"""Measure every latent, and the importance weights, on the first observations.

    .. math::
        \mathrm{MI} = E\Big[\log q(z \mid x) - \log \frac1N \sum_n q(z \mid x_n)\Big], \qquad
        \mathrm{ESS} = \frac{(\sum_s w_s)^2}{\sum_s w_s^2}, \qquad \mathrm{effective\_sample\_share} = \mathrm{ESS} / S

    The bounds are for the data as they came.  Without latents both are log p(x) itself, and there is no guide to judge.

    Args:
        model: Pyro program p(x, latents).
        guide: Pyro program q(latents | x).
        data: the data; the first observations are used.
        num_images: observations for the latents.
        num_weighted: observations for the weights.
        num_samples: importance samples for each of these.
        seed: of the draws.

    Raises:
        ValueError: if a number is below 1, there are fewer than 20 samples, or the data hold values
            that the model could not draw; as :func:`~inference.negative_bounds` otherwise.

    Source: active units, Burda, Grosse and Salakhutdinov (2016), section 5.2; mutual information,
    Hoffman and Johnson, "ELBO surgery" (2016); Pareto k, Vehtari et al., "Pareto smoothed
    importance sampling" (2024).

    Example:
        >>> from inference import binarise, diagnose, load_dataset
        >>> from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal
        >>> test = binarise(load_dataset("digits")[1], "static")
        >>> model = VAE(StandardNormal(2), MLPDecoder(2, (1, 8, 8)))
        >>> guide = MeanFieldGuide(MLPEncoder((1, 8, 8)), latent_dim=2)
        >>> found = diagnose(model, guide, test, num_images=20, num_weighted=5, num_samples=50)
        >>> [latent.name for latent in found.latents], found.negative_iwae < found.negative_elbo
        (['z'], True)
    """
    if min(num_images, num_weighted) < 1 or num_samples < 20:
        raise ValueError(
            "num_images and num_weighted must be at least 1 and num_samples at least 20; got "
            f"{num_images}, {num_weighted} and {num_samples}"
        )
    check_measures(model, guide, data)
    set_seed(seed)
    with validating(False):
        few = data.arguments(slice(num_images))
        with evaluating(model, guide):
            latents = latent_records(model, guide, *few)
        x, *labels = data.arguments(slice(num_weighted if latents else num_images))
        at_once = math.prod(block_size(x, num_samples))
        if latents:
            at_once = min(at_once, _DRAWS_AT_ONCE)
        with Bar("importance weights", len(x), "observations") as bar:
            weigh = bar.counting(partial(checked_log_weights, model, guide), of_each=num_samples)
            log_w = log_weights(model, guide, x, num_samples, at_once, labels[0] if labels else None, weigh).cpu()
    k, threshold = pareto_k(log_w), min(1 - 1 / math.log10(num_samples), 0.7)
    elbo, iwae = (float(iwae_bound(log_w, m).mean()) + data.log_det for m in (1, num_samples))
    return Diagnosis(
        latents=latents,
        num_images=len(few[0]),
        negative_elbo=-elbo,
        negative_iwae=-iwae,
        gap=iwae - elbo,
        num_samples=num_samples,
        num_weighted=len(x),
        effective_sample_share=float(effective_sample_share(log_w).mean()),
        pareto_k=float(k.median()),
        pareto_k_threshold=threshold,
        share_above_threshold=float(((k > threshold) & ~are_equal(log_w)).double().mean()),
    )
