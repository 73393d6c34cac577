"""A guide that refines the encoder's output by a few gradient steps on each image."""

from typing import Protocol, runtime_checkable

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from pyro_models.guides.amortized import AmortizedGuide
from pyro_models.networks import scale_of


@runtime_checkable
class HasLogJoint(Protocol):
    def log_joint(self, x: Tensor, z: Tensor, labels: Tensor | None = None) -> Tensor: ...


class SemiAmortizedGuide(AmortizedGuide):
    r"""q(z | x) = N(z; loc_K, diag scale_K^2): gradient ascent on the ELBO, starting from the encoder's output.

    .. math::
        \lambda_0 = \mathrm{encoder}(x), \qquad
        \lambda_{k+1} = \lambda_k
            + \mathrm{lr}\, \nabla_{\lambda} \big(\log p(x, z_\lambda) - \log q_\lambda(z_\lambda)\big),
        \qquad \lambda = (\mathrm{loc}, \mathrm{raw}), \quad \mathrm{scale} = \sqrt{\mathrm{softplus}(\mathrm{raw})}

    with one draw z = loc + scale ε in each step, and each image's gradient clipped to norm 1.  The
    gradient of the encoder passes straight through the steps, as if they added a constant; the
    original differentiates through them.

    Site and shapes as for :class:`AmortizedGuide`.

    Args:
        encoder: as for :class:`AmortizedGuide`.
        latent_dim: size of the code.
        model: its ``log_joint(x, z, labels)`` returns log p(x, z), (B,).
        steps: number of gradient steps.
        lr: step size.
        num_classes: as for :class:`AmortizedGuide`.

    Raises:
        ValueError: if ``steps`` is below 0 or ``lr`` not positive.
        RuntimeError: if it is called in ``torch.inference_mode``.

    Source: Kim, Wiseman, Miller, Sontag and Rush, "Semi-amortized variational autoencoders" (2018).
    """

    random_density = True  # q(z | x) depends on the draws of the steps

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        model: HasLogJoint,
        steps: int = 3,
        lr: float = 0.1,
        num_classes: int = 0,
    ) -> None:
        super().__init__(encoder, latent_dim, 2 * latent_dim, num_classes)
        if steps < 0 or not lr > 0:
            raise ValueError(f"steps must be at least 0 and lr positive; got {steps} and {lr}")
        self._model = (model,)  # in a tuple, so that its weights are not registered as the guide's
        self.steps = steps
        self.lr = lr

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> dist.TorchDistribution:
        start = self.numbers(self.features(x, labels))
        loc, raw = (start + self._refinement(start.detach(), x, labels)).chunk(2, dim=-1)
        return dist.Normal(loc, scale_of(raw)).to_event(1)

    def _refinement(self, start: Tensor, x: Tensor, labels: Tensor | None) -> Tensor:
        """What the gradient steps add to the encoder's output, detached."""
        if torch.is_inference_mode_enabled():
            raise RuntimeError("SemiAmortizedGuide takes gradients: use torch.no_grad, not inference_mode")
        parameters = start
        with torch.enable_grad(), poutine.block():
            for _ in range(self.steps):
                parameters = parameters.detach().requires_grad_()
                loc, raw = parameters.chunk(2, dim=-1)
                q = dist.Normal(loc, scale_of(raw)).to_event(1)
                z = q.rsample()
                elbo = self._model[0].log_joint(x, z, labels) - q.log_prob(z)
                (gradient,) = torch.autograd.grad(elbo.sum(), parameters)
                length = gradient.norm(dim=-1, keepdim=True)
                parameters = parameters + self.lr * gradient / length.clamp(min=1.0)
        return parameters.detach() - start
