"""Images of a flow, conditioned on some of their pixels."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor

from pyro_models.checks import check_images
from pyro_models.distributions import Quantized
from pyro_models.flows import FlowDistribution
from pyro_models.models.flow_model import FlowModel
from pyro_models.transforms import Squash


class Inpainting(PyroModule):
    r"""p(epsilon, known pixels): an image's point in the base space, and some of its pixels.

    .. math::
        \epsilon \sim N(0, I), \qquad v = f(\epsilon), \qquad
        \mathrm{Squash}^{-1}\Big(\frac{x_k + 1/2}{\mathrm{levels}}\Big) \sim N(v_k,\ \mathrm{noise}^2),
        \quad k \text{ known}

    where v is the flow's value before its last transform, :class:`~pyro_models.transforms.Squash`,
    maps it into [0, 1].  A flow is a distribution like any other: this program adds an observation to
    it, and any of Pyro's algorithms can infer the rest.  Exact conditioning would confine the known
    pixels to their cells, walls that a sampler cannot move between; noise on v replaces them.  On
    v's scale the darkest of 256 cells is wider than 1, one in the middle 1/64 wide.

    Sites ``epsilon`` (latent) and ``known`` (the known pixels), inside the plate ``data``.

    Shapes: x and the result are (B, \*image_shape), epsilon is (B, D).

    Args:
        model: a model of whole images.
        known: (\*image_shape), true where a pixel is known.
        noise: standard deviation of the observation, on v's scale.

    Raises:
        TypeError: if the model is not a :class:`FlowModel`, or its flow does not end in a Squash.
        ValueError: if no pixel is known, or ``noise`` is below 0.001.

    Source: the idea of sampling a flow's posterior in its base space, Hoffman et al.,
    "NeuTra-lizing bad geometry in Hamiltonian Monte Carlo using neural transport" (2019).

    Example:
        >>> import torch
        >>> from pyro_models import FlowModel, Inpainting, flip_realnvp
        >>> known = torch.ones(1, 4, 4, dtype=torch.bool)
        >>> known[:, :, 2:] = False
        >>> program = Inpainting(FlowModel(flip_realnvp((1, 4, 4)), levels=17), known)
        >>> x = torch.full((3, 1, 4, 4), 8.0)
        >>> bool((program(x)[:, known] == 8).all())
        True
    """

    known: Tensor

    def __init__(self, model: FlowModel, known: Tensor, noise: float = 0.3) -> None:
        super().__init__()
        if not known.any():
            raise ValueError("at least one pixel must be known")
        if not 1e-3 <= noise < math.inf:
            raise ValueError(f"noise must be at least 0.001 (a sampler could not move); got {noise}")
        self.model = model
        self.noise = noise
        self.register_buffer("known", known.bool(), persistent=False)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Whole images: x at the known pixels, draws elsewhere."""
        if x.shape[1:] != self.known.shape:
            raise ValueError(
                f"images must have the shape of known, {tuple(self.known.shape)}; got {tuple(x.shape[1:])}"
            )
        check_images(x[:, self.known], self.model.levels)
        flow = self.model.intensities(labels)
        if not isinstance(flow, FlowDistribution) or not isinstance(flow.transforms[-1], Squash):
            raise TypeError("only a flow whose last transform is a Squash can be inpainted")
        *unbounded, squash = flow.transforms
        before = FlowDistribution(flow.base_dist, unbounded)
        target = squash.inv((x + 0.5) / self.model.levels)
        with pyro.plate("data", len(x)):
            v = before.from_base(pyro.sample("epsilon", flow.base_dist))
            seen = dist.Normal(v[..., self.known], self.noise).to_event(1)
            pyro.sample("known", seen, obs=target[:, self.known])
        drawn = Quantized(squash(v), self.model.levels, x.dim() - 1).mean
        return torch.where(self.known, x, drawn)
