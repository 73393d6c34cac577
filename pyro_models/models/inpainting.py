"""A flow's images of which some pixels are seen."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor

from pyro_models.distributions import Quantized
from pyro_models.models.flow_model import FlowModel


class Inpainting(PyroModule):
    r"""p(epsilon, seen pixels): the base-space point of an image, given the pixels that are known.

    .. math::
        \epsilon \sim N(0, I), \qquad y = f(\epsilon), \qquad
        \mathrm{logit}\, \frac{x_k + 1/2}{\mathrm{levels}} \sim N(\mathrm{logit}\, y_k,\ \mathrm{noise}^2),
        \quad k \text{ known}

    A flow is a distribution like others: this program puts one more observation on it, and any of
    Pyro's algorithms infers the rest.  The exact posterior lets the known pixels move within their
    cells alone, walls that a sampler cannot move between; on the logit scale, where the darkest
    cell of 256 is wider than one unit, a little noise stands in for them.

    Sites ``epsilon`` (latent) and ``known`` (the known pixels), inside the plate ``data``.

    Shapes: x and the result are (B, \*image_shape), epsilon is (B, D).

    Args:
        model: of whole images.
        known: (\*image_shape), true where a pixel is seen.
        noise: standard deviation of what is seen, on the logit scale.

    Raises:
        ValueError: if no pixel is known, or ``noise`` is not positive.

    Source: the idea of sampling a flow's posterior in its base space, Hoffman et al.,
    "NeuTra-lizing bad geometry in Hamiltonian Monte Carlo using neural transport" (2019).
    """

    known: Tensor

    def __init__(self, model: FlowModel, known: Tensor, noise: float = 0.3) -> None:
        super().__init__()
        if not known.any():
            raise ValueError("at least one pixel must be known")
        if not noise > 0:
            raise ValueError(f"noise must be positive; got {noise}")
        self.model = model
        self.noise = noise
        self.register_buffer("known", known.bool(), persistent=False)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Whole images: x where it is known, and drawn pixels elsewhere."""
        if x.shape[1:] != self.known.shape:
            raise ValueError(f"images must be {tuple(self.known.shape)}, as the known pixels; got {tuple(x.shape[1:])}")
        flow = self.model.intensities(labels)
        levels = self.model.levels
        with pyro.plate("data", len(x)):
            epsilon = pyro.sample("epsilon", flow.base_dist)
            y = flow.from_base(epsilon)
            seen = y.clamp(1e-6, 1 - 1e-6).logit()[..., self.known]
            target = ((x + 0.5) / levels).logit()[:, self.known]
            pyro.sample("known", dist.Normal(seen, self.noise).to_event(1), obs=target)
        drawn = Quantized(y, levels, x.dim() - 1).mean
        return torch.where(self.known, x, drawn)
