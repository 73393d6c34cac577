"""Flows as priors."""

from collections.abc import Sequence

from pyro_models.flows import Flow, ZukoFlow
from pyro_models.flows.vector_realnvp import alternating_couplings
from pyro_models.flows.zuko_flow import Kind
from pyro_models.sizes import check_at_least


class FlowPrior(Flow):
    r"""p(z): RealNVP over the code, which starts as the standard normal.

    .. math:: z = f_n(\ldots f_1(\epsilon)), \qquad \epsilon \sim N(0, I)

    Shapes: ``forward()`` returns a distribution of ``event_shape`` (latent_dim,).

    Args:
        latent_dim: size of the code, at least 2.
        couplings: number of couplings, with alternating masks.
        hidden: widths of the hidden layers of each coupling's network.
        context: size of an additional input of the networks, such as the number of classes; 0 for none.
        bound: bound on each coupling's log scale, see :class:`~pyro_models.transforms.AffineCoupling`;
            with a small bound the density falls off less steeply for codes far from the origin, where one draw of the
            guide could otherwise undo the training.
        components: number of logistic distributions in each coupling's mixture, see
            :class:`~pyro_models.transforms.LogisticMixtureCoupling`; 0 for affine couplings.

    Raises:
        ValueError: if ``latent_dim`` is below 2, ``couplings`` below 1 or ``bound`` not positive.

    Source: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP" (2017); as a prior,
    Chen et al., "Variational lossy autoencoder" (2017), section 3.2.

    Example:
        >>> from pyro_models import FlowPrior
        >>> p = FlowPrior(4, couplings=2)()
        >>> p.log_prob(p.sample([5])).shape
        torch.Size([5])
    """

    def __init__(
        self,
        latent_dim: int,
        couplings: int = 6,
        hidden: Sequence[int] = (128,),
        context: int = 0,
        bound: float | None = 0.5,
        components: int = 0,
    ) -> None:
        check_at_least(2, latent_dim=latent_dim)
        chain = alternating_couplings(
            latent_dim, couplings, hidden, bound=bound, context=context, components=components
        )
        super().__init__(chain, latent_dim, context)


class ZukoPrior(ZukoFlow):
    r"""p(z): one of zuko's flows, see :class:`~pyro_models.flows.ZukoFlow`.

    Shapes: ``forward()`` returns a distribution of ``event_shape`` (latent_dim,).

    Args:
        latent_dim: size of the code.
        kind: name of a class in ``zuko.flows`` whose base is the standard normal.
        transforms: number of transforms in the flow.
        hidden: widths of the hidden layers of each transform's network.

    Raises:
        ValueError: if this release of zuko has no such flow, or a size is below 1.
    """

    def __init__(
        self, latent_dim: int, kind: Kind = "NSF", transforms: int = 3, hidden: Sequence[int] = (64, 64)
    ) -> None:
        check_at_least(1, latent_dim=latent_dim)
        super().__init__(latent_dim, kind, transforms, hidden)
