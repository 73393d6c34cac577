"""RealNVP on flattened images: couplings that alternate between the two halves."""

from collections.abc import Sequence

from torch.distributions import Transform

from pyro_models.flows.couplings import coupling_of_halves, sizes_of_heads
from pyro_models.flows.flat import flat_flow, half_size
from pyro_models.flows.flow import Flow
from pyro_models.networks import MLP, Activation, Parallel
from pyro_models.sizes import check_at_least


def masked_realnvp(
    image_shape: Sequence[int],
    layers: int = 6,
    hidden: Sequence[int] = (512, 512),
    activation: Activation = "ReLU",
    alpha: float = 1e-6,
    context: int = 0,
    components: int = 0,
) -> Flow:
    r"""RealNVP over [0, 1]^D, alternating between a fixed mask of half the pixels and its complement.

    .. math:: y = \mathrm{Squash}(f_n \circ \cdots \circ f_1(\epsilon)), \qquad \epsilon \sim N(0, I_D)

    Odd layers transform the second half given the first, even layers the first given the second,
    each with separate perceptrons: :math:`s = \tanh(\mathrm{MLP}(x_a))`, :math:`t = \mathrm{MLP}(x_a)`.

    Shapes: the distribution's ``event_shape`` is ``image_shape``; D is its product.

    Args:
        image_shape: shape of one image, such as (C, H, W); or (D,) for vectors.
        layers: number of couplings.
        hidden: widths of the hidden layers of each perceptron.
        activation: name of a class in ``torch.nn``.
        alpha: margin of :class:`~pyro_models.transforms.Squash`.
        context: size of an additional input of the networks, such as the number of classes; 0 for none.
        components: number of logistic distributions in each coupling's mixture, see
            :class:`~pyro_models.transforms.LogisticMixtureCoupling`; 0 for affine couplings.

    Raises:
        ValueError: if D is odd or there are fewer than 2 layers (one would leave half the pixels unchanged).

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    sections 3.2 to 3.5.

    Example:
        >>> from pyro_models import masked_realnvp
        >>> masked_realnvp((2,), layers=4, hidden=[16])().sample([5]).shape
        torch.Size([5, 2])
    """
    half = half_size(image_shape)
    if layers < 2:
        raise ValueError(f"layers must be at least 2, or half the pixels would never be transformed; got {layers}")
    check_at_least(0, components=components)
    heads = sizes_of_heads(half, components)

    def network(size: int) -> MLP:
        return MLP(half + context, size, hidden, activation, zero_init=True)

    def coupling(i: int) -> Transform:
        return coupling_of_halves(Parallel(*map(network, heads)), components, bound=1.0, swap=bool(i % 2))

    return flat_flow([coupling(i) for i in range(layers)], image_shape, alpha, context)
