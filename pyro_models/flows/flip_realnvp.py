"""RealNVP on flattened images: couplings of equal halves, each followed by a flip."""

from collections.abc import Sequence

from torch.distributions import Transform

from pyro_models.flows.couplings import coupling_of_halves, sizes_of_heads
from pyro_models.flows.flat import flat_flow, half_size
from pyro_models.flows.flow import Flow
from pyro_models.networks import MLP, Activation, Parallel
from pyro_models.sizes import check_at_least
from pyro_models.transforms import Flip


def flip_realnvp(
    image_shape: Sequence[int],
    pairs: int = 4,
    hidden: Sequence[int] = (512, 512),
    activation: Activation = "ELU",
    dropout: float = 0.0,
    separate: bool = False,
    bound: float | None = 2.0,
    alpha: float = 1e-6,
    context: int = 0,
    components: int = 0,
) -> Flow:
    r"""RealNVP over [0, 1]^D: (coupling, flip) pairs, then the sigmoid.

    .. math::
        y = \mathrm{Squash}(f(\epsilon)), \qquad
        f = (\mathrm{Flip} \circ \mathrm{Coupling}_n) \circ \cdots \circ
            (\mathrm{Flip} \circ \mathrm{Coupling}_1), \qquad \epsilon \sim N(0, I_D)

    Shapes: the distribution's ``event_shape`` is ``image_shape``; D is its product.  Each coupling
    starts as the identity.

    Args:
        image_shape: shape of one image, such as (C, H, W); or (D,) for vectors.
        pairs: number of (coupling, flip) pairs.
        hidden: widths of the hidden layers of each coupling's network.
        activation: name of a class in ``torch.nn``.
        dropout: probability with which a hidden unit is set to zero in training.
        separate: use separate networks for s, for t and so on, instead of one with several heads.
        bound: largest absolute log scale of one coupling; ``None`` for no bound.
        alpha: margin of :class:`~pyro_models.transforms.Squash`.
        context: size of an additional input of the networks, such as the number of classes; 0 for none.
        components: number of logistic distributions in each coupling's mixture, see
            :class:`~pyro_models.transforms.LogisticMixtureCoupling`; 0 for affine couplings.

    Raises:
        ValueError: if D is odd, or ``pairs`` or a width is below 1.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017),
    sections 3.2 to 3.5.

    Example:
        >>> from pyro_models import flip_realnvp
        >>> p = flip_realnvp((1, 4, 4), pairs=2)()
        >>> y = p.sample([5])
        >>> y.shape, p.log_prob(y).shape
        (torch.Size([5, 1, 4, 4]), torch.Size([5]))
    """
    half = half_size(image_shape)
    check_at_least(1, pairs=pairs)
    check_at_least(0, components=components)
    heads = sizes_of_heads(half, components)

    def network(out: int | Sequence[int]) -> MLP:
        return MLP(half + context, out, hidden, activation, dropout, zero_init=True)

    transforms: list[Transform] = []
    for _ in range(pairs):
        conditioner = Parallel(*map(network, heads)) if separate else network(heads)
        transforms += [coupling_of_halves(conditioner, components, bound), Flip()]
    return flat_flow(transforms, image_shape, alpha, context)
