"""When is it best to ignore the code?  An exact threshold for the weight of the divergence."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from inference.programs.checks import check_data
from inference.programs.support import check_in_support
from inference.system.progress import Bar


def collapse_threshold(likelihood: nn.Module, x: Tensor, labels: Tensor | None = None, steps: int = 500) -> float:
    r"""The weight of the divergence above which ignoring the code is a stable optimum of the decoder.

    Let the decoder's output raw be the best constant for every z (one for each label, if there are
    labels), and let q(z | x) = p(z).  Now let guide and decoder make z slightly informative, in any
    way: q = p(z) (1 + e h(x, z)), and raw + e g(z) with g of mean zero.  With the score
    :math:`s(x) = \partial \log p(x) / \partial \mathrm{raw}` and the curvature
    :math:`F = -E[\partial^2 \log p(x) / \partial \mathrm{raw}^2]`, a diagonal, to second order in e

    .. math::
        E[\log p(x \mid z)] - \beta\, KL = L_0 + e^2\, E\Big[h\, s^T g - \tfrac12\, g^T F g - \tfrac\beta2\, h^2\Big]
        \le L_0 + \tfrac12 e^2\, E_p\Big[g^T \big(\tfrac1\beta E[s s^T] - F\big)\, g\Big]

    with equality at :math:`h = s^T g / \beta`.  Every change is a loss if and only if

    .. math:: \beta > \lambda_{\max}\big(F^{-1/2}\, E[s s^T]\, F^{-1/2}\big)

    which is returned.  It depends on the likelihood and the images alone, not on the networks, the
    prior, the guide or the size of the code.  For independent binary pixels it is the largest
    eigenvalue of their correlation matrix.  With labels, g and h may differ between classes, and
    the largest threshold of all classes is returned.

    Changes of the likelihood's own weights matter only at higher order, as h and g have mean zero
    under p(z).  If these weights have several optima (hidden layers), the threshold is that of the
    optimum found.

    Shapes: x is (B, \*image_shape), labels (B,).

    Args:
        likelihood: from raw, of the shape of x, to the distribution of an image; a copy is fitted to x.
        x: observed images.
        labels: classes, for a conditional model.
        steps: most steps of L-BFGS; the result is as accurate as this fit, and a warning says if they are too few.

    Raises:
        ValueError: if the likelihood takes more than one number for each pixel, or mixes those of several
            pixels, x lies outside its support, or images and labels do not fit together.

    Source: for linear models, Lucas et al., "Don't blame the ELBO! A linear VAE perspective on
    posterior collapse" (2019), section 4; the same expansion for any guide and decoder.

    Example:
        >>> import torch
        >>> from inference import collapse_threshold
        >>> from pyro_models import BernoulliPixels
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).reshape(2, 1, 1, 2)  # two pixels that always agree
        >>> round(collapse_threshold(BernoulliPixels(), x), 3)
        2.0
    """
    per_pixel = getattr(likelihood, "per_pixel", None)
    if per_pixel != 1:
        raise ValueError(f"the likelihood must take one number for each pixel, per_pixel = 1; this one has {per_pixel}")
    check_data(x, labels)
    x = x.cpu()  # Apple's GPUs have no double precision
    check_in_support(copy.deepcopy(likelihood).cpu().double()(torch.zeros_like(x[:1]).double()), x)
    classes = torch.zeros(len(x), dtype=torch.long, device=x.device) if labels is None else labels.cpu().long()
    x = x.double()
    likelihood, constants = _without_code(likelihood, x, classes, steps)
    score, curvature = _score_and_curvature(likelihood, constants[classes].requires_grad_(), x)
    return max(_threshold(score[part], curvature[part], steps) for part in (classes == c for c in classes.unique()))


def _score_and_curvature(likelihood: Any, raw: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The first derivative of log p(x), and minus the second, a diagonal, each of the shape of x.

    Raises:
        ValueError: if the second derivative is not a diagonal.
    """
    log_prob = likelihood(raw).log_prob(x).sum()
    (score,) = torch.autograd.grad(log_prob, raw, create_graph=True)
    signs = torch.ones_like(score)
    (minus_curvature,) = torch.autograd.grad((score * signs).sum(), raw, retain_graph=True)
    signs.flatten(1)[:, ::2] = -1
    (signed,) = torch.autograd.grad((score * signs).sum(), raw)
    if not torch.allclose(signed, signs * minus_curvature, atol=1e-8):
        raise ValueError("the number of one pixel changes the score of another: the curvature must be a diagonal")
    return score.detach(), -minus_curvature


def _threshold(score: Tensor, curvature: Tensor, steps: int) -> float:
    """The largest eigenvalue for images that share a constant, if the constant is the best."""
    score, curvature = score.flatten(1), curvature.flatten(1)
    value = _largest_eigenvalue(score, curvature)
    # scores cancel at an optimum, so the eigenvalue may be off by this; that of pixels that never vary is infinite
    varies = score.std(0, correction=0) > 1e-3
    rest = (score.mean(0).square() / curvature.mean(0).clamp(min=1e-12))[varies].sum()
    if rest > 0.01 * value:
        warnings.warn(f"the best constants were not found in {steps} steps: {value:.4g} is a guess", stacklevel=3)
    return value


def _largest_eigenvalue(score: Tensor, curvature: Tensor) -> float:
    scaled = score / curvature.mean(0).clamp(min=1e-12).sqrt()  # both are 0 for pixels that never vary
    return float(torch.linalg.eigvalsh(scaled.T @ scaled / len(scaled))[-1])


def _without_code(likelihood: nn.Module, x: Tensor, classes: Tensor, steps: int) -> tuple[Any, Tensor]:
    """The likelihood and constants, (classes, *image_shape), that fit the images best without a code."""
    likelihood = copy.deepcopy(likelihood).cpu().double().eval()
    constants = torch.zeros(int(classes.max()) + 1, *x.shape[1:], dtype=x.dtype, device=x.device, requires_grad=True)
    parameters = [constants, *likelihood.parameters()]
    most = steps * 5 // 4  # evaluations, PyTorch's own default
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=steps, max_eval=most, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        bar.update()
        optimizer.zero_grad()
        # a very wide normal prior on all weights: the best logit of a pixel that never varies is infinite
        value = 1e-5 * sum(p.square().sum() for p in parameters) - likelihood(constants[classes]).log_prob(x).mean()
        value.backward()
        return value

    with Bar("the best constants without a code", most, "evaluations at most") as bar:
        optimizer.step(loss)
        bar.finish()
    return likelihood, constants.detach()
