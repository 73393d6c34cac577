"""RealNVP on vectors: couplings under alternating masks."""

from collections.abc import Sequence

from torch.distributions import Transform

from pyro_models.flows.couplings import coupling_under_mask, sizes_of_heads
from pyro_models.flows.flow import Flow
from pyro_models.networks import MLP, Activation
from pyro_models.sizes import check_at_least
from pyro_models.transforms import ActNorm, alternating


def vector_realnvp(
    size: int,
    couplings: int = 8,
    hidden: Sequence[int] = (128, 128),
    activation: Activation = "Tanh",
    bound: float | None = 2.0,
    context: int = 0,
    components: int = 0,
) -> Flow:
    r"""RealNVP over vectors of real numbers.

    .. math::
        x = (N_n \circ C_n) \circ \cdots \circ (N_1 \circ C_1)(\epsilon), \qquad \epsilon \sim N(0, I_D)

    The couplings C transform even and odd coordinates in turn, each starting as the identity; each
    :class:`~pyro_models.transforms.ActNorm` N scales and shifts the coordinates, so that data of any
    location and scale reach the networks standardised.

    Shapes: the distribution's ``event_shape`` is (D,).

    Args:
        size: D, at least 2.
        couplings: number n of couplings.
        hidden: widths of the hidden layers of each coupling's network.
        activation: name of a class in ``torch.nn``; with "Tanh" the map is affine far from the data, whatever it
            is close by.
        bound: largest absolute log scale of one coupling; ``None`` for no bound.
        context: size of an additional input of the networks, such as the number of classes; 0 for none.
        components: number of logistic distributions in each coupling's mixture, see
            :class:`~pyro_models.transforms.LogisticMixtureCoupling`; 0 for affine couplings.

    Raises:
        ValueError: if ``size`` is below 2, or another number out of its range.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017), section 3.4;
    ActNorm from Kingma and Dhariwal, "Glow" (2018).

    Example:
        >>> from pyro_models import vector_realnvp
        >>> p = vector_realnvp(3, couplings=2, hidden=[16])()
        >>> x = p.sample([5])
        >>> x.shape, p.log_prob(x).shape
        (torch.Size([5, 3]), torch.Size([5]))
    """
    if size < 2:
        raise ValueError(
            f"a coupling needs at least 2 coordinates; got {size}: for one, take ZukoFlow(1), a spline flow"
        )
    check_at_least(1, couplings=couplings)
    transforms: list[Transform] = []
    for coupling in alternating_couplings(size, couplings, hidden, activation, bound, context, components):
        transforms += [coupling, ActNorm(size, event_dim=1)]
    return Flow(transforms, size, context)


def alternating_couplings(
    size: int,
    couplings: int,
    hidden: Sequence[int],
    activation: Activation = "ELU",
    bound: float | None = 2.0,
    context: int = 0,
    components: int = 0,
) -> list[Transform]:
    """Couplings of vectors that transform odd and even coordinates in turn, starting as the identity, or nearly."""
    check_at_least(0, components=components)

    def network() -> MLP:
        return MLP(size + context, sizes_of_heads(size, components), hidden, activation, zero_init=True)

    def coupling(i: int) -> Transform:
        return coupling_under_mask(alternating(size, odd=bool(i % 2)), network(), components, bound)

    return [coupling(i) for i in range(couplings)]
