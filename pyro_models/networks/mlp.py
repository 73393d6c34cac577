"""Fully connected networks."""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn.functional import linear

from pyro_models.places import Places

# activations of torch.nn that need no argument and act elementwise
# fmt: off
Activation = Literal[
    "ELU", "ReLU", "SiLU", "GELU", "Tanh", "LeakyReLU", "CELU", "SELU", "Mish", "PReLU", "ReLU6", "RReLU",
    "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LogSigmoid", "Sigmoid",
    "Softplus", "Softshrink", "Softsign", "Tanhshrink",
]
# fmt: on


def activation_class(name: str) -> type[nn.Module]:
    """The class of ``torch.nn`` with that name.

    Raises:
        ValueError: if it is not one of :data:`Activation`.
    """
    if name not in get_args(Activation):
        raise ValueError(f"unknown activation {name!r}: expected one of {', '.join(get_args(Activation))}")
    return getattr(nn, name)


class MLP(nn.Module):
    r"""A multilayer perceptron with one output, or with several heads on one trunk.

    .. math::
        h_0 = x, \qquad h_i = \mathrm{activation}(W_i h_{i-1} + b_i), \qquad y_k = V_k h_n + c_k

    Shapes: x is (\*, in_features); y is (\*, out_features), or one such tensor for each head.  Even
    under autocast y has the precision of x, which sums of densities need.

    With a context (\*, K), x is (\*, in_features - K) and the two are concatenated; the context is not
    copied along leading dimensions that it lacks, such as particles.

    Args:
        in_features: size of the input.
        out_features: size of the output, or the sizes of the heads.
        hidden: widths of the hidden layers; none makes the map affine.
        activation: one of :data:`Activation`, a name in ``torch.nn``.
        dropout: probability with which a hidden unit is set to zero in training.
        zero_init: start with all outputs at zero, so that a coupling starts as the identity.

    Raises:
        ValueError: if a size is below 1, the activation unknown, or ``dropout`` outside [0, 1).

    Example:
        >>> import torch
        >>> from pyro_models import MLP
        >>> scale, shift = MLP(3, (4, 4), hidden=[10])(torch.zeros(5, 3))
        >>> scale.shape, shift.shape
        (torch.Size([5, 4]), torch.Size([5, 4]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int | Sequence[int],
        hidden: Sequence[int] = (400, 400),
        activation: str = "ELU",
        dropout: float = 0.0,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.one_output = isinstance(out_features, int)
        self.heads = [out_features] if isinstance(out_features, int) else list(out_features)
        sizes = [in_features, *hidden, *self.heads]
        if any(not isinstance(size, int) or size < 1 for size in sizes):
            raise ValueError(f"layer sizes must be whole numbers of at least 1; got {sizes}")
        make = activation_class(activation)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1; got {dropout}")

        layers: list[nn.Module] = []
        for before, after in zip([in_features, *hidden], hidden, strict=False):
            layers += [nn.Linear(before, after), make()]
            layers += [nn.Dropout(dropout)] if dropout else []
        self.trunk = nn.Sequential(*layers)
        self.out = nn.Linear(hidden[-1] if hidden else in_features, sum(self.heads))
        if zero_init:
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        first, *rest = [*self.trunk, self.out]
        y = first(x) if context is None else self._side_by_side(first, x, context)  # type: ignore[arg-type]
        for layer in rest:
            y = layer(y)
        y = y.to(x.dtype)
        return y if self.one_output else y.split(self.heads, dim=-1)

    @staticmethod
    def _side_by_side(layer: nn.Linear, x: Tensor, context: Tensor) -> Tensor:
        """layer(cat([x, context])), without repeating the context."""
        of_x, of_context = layer.weight.split([x.shape[-1], context.shape[-1]], dim=1)
        return linear(x, of_x) + linear(context, of_context, layer.bias)

    def has_parts(self, size: int, context: int = 0) -> bool:
        """Whether :meth:`part` can stand in for a call, with x and each head of one size and a context of another."""
        first, last = [*self.trunk, self.out][0], self.out
        return (
            _is_plain(self, MLP)
            and _is_plain(first, nn.Linear)
            and _is_plain(last, nn.Linear)
            and first.in_features == size + context
            and self.heads == [size] * len(self.heads)
            and last.out_features == sum(self.heads)
            and not (first.bias is None or last.bias is None)
        )

    def part(
        self, inputs: Places, outputs: Places, size: int, x: Tensor, context: Tensor | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        r"""Some places of y, computed from the places of x that are not zero.

        .. math:: \mathrm{part}(x_I)_k = y_k(x)_O, \qquad x_i = 0 \text{ for } i \notin I

        The weights that this leaves out get gradients of exactly zero.

        Shapes: x is (\*, number of inputs), each y is (\*, number of outputs).

        Args:
            inputs: I, places in x.
            outputs: O, places in each head.
            size: size of the whole x and of each whole head.
            x: the inputs.
            context: as in a call.
        """
        weight, bias = self.out.weight.reshape(-1, size, self.out.in_features), self.out.bias.reshape(-1, size)
        weight, bias = outputs.take(weight, -2).flatten(0, 1), outputs.take(bias).flatten()
        if len(self.trunk) == 0:
            y = _of_part(x, inputs, size, context, weight, bias)
        else:
            first, *rest = self.trunk
            y = _of_part(x, inputs, size, context, first.weight, first.bias)  # type: ignore[arg-type]
            for layer in rest:
                y = layer(y)
            y = linear(y, weight, bias)
        y = y.to(x.dtype)
        return y if self.one_output else y.chunk(len(self.heads), dim=-1)


class Parallel(nn.Module):
    """Several networks applied to the same input (and context, if any); returns a tuple of their outputs."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor, *context: Tensor) -> tuple[Tensor, ...]:
        return tuple(network(x, *context) for network in self.networks)


def _of_part(x: Tensor, inputs: Places, size: int, context: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer of some places of its input, beside a context."""
    if context is None:
        return linear(x, inputs.take(weight), bias)
    return linear(x, inputs.take(weight[:, :size])) + linear(context, weight[:, size:], bias)


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a call runs ``kind.forward`` alone: no subclass, and no hook such as the one that prunes weights."""
    return type(module) is kind and not (
        module._forward_pre_hooks or module._forward_hooks or module._backward_pre_hooks or module._backward_hooks
    )
