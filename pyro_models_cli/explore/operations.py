"""The operations of torch's graphs that pages know, each as operations of the page."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inference import RunError
from pyro_models_cli.explore.values import Value, Writer

# these move numbers, repeat them or leave some out
MOVEMENTS = {
    *(
        "view",
        "_unsafe_view",
        "reshape",
        "permute",
        "t",
        "transpose",
        "expand",
        "unsqueeze",
        "squeeze",
        "flip",
        "slice",
    ),
    *("select", "split", "split_with_sizes", "unbind", "chunk", "repeat", "diagonal", "index_select", "as_strided"),
}
_SAME = {"clone", "_to_copy", "alias", "detach", "lift_fresh_copy", "contiguous", "copy", "to"}
_UNARY = {
    *("exp", "log", "log1p", "expm1", "tanh", "sigmoid", "relu", "neg", "abs", "sqrt", "rsqrt", "reciprocal", "floor"),
    *("ceil", "round", "sign", "sin", "cos", "erf", "logical_not", "bitwise_not", "isnan"),
}
_WITH_NUMBERS = {  # elementwise, with numbers whose defaults stand here
    "elu": (1.0, 1.0, 1.0),
    "leaky_relu": (0.01,),
    "softplus": (1.0, 20.0),
    "hardtanh": (-1.0, 1.0),
}
_BINARY = {
    *("add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "logical_and"),
    *("logical_or", "bitwise_and", "bitwise_or", "atan2", "remainder"),
}
_ALSO = {"__and__": "logical_and", "__or__": "logical_or", "bitwise_and": "logical_and", "bitwise_or": "logical_or"}
_REDUCTIONS = {"sum", "amax", "amin", "mean", "prod", "any", "all"}
Emit = Callable[..., Any]


def emit_operation(writer: Writer, name: str, args: Any, kwargs: Any, example: Any) -> Any:
    """Append what one operation of torch's graph does.

    Args:
        name: such as ``add.Tensor``.
        args, kwargs: of the operation, with values and tensors.
        example: the result's shape and dtype.

    Raises:
        RunError: if pages do not know it.
    """
    short = name.partition(".")[0]
    if short in _SAME:
        source = args[1] if short == "copy" else args[0]
        source = _broadcast(writer, source, example.shape)
        if source.dtype.is_floating_point and not example.dtype.is_floating_point and example.dtype != torch.bool:
            return writer.emit("trunc", example.shape, example.dtype, source.name)
        return Value(source.name, example.shape, example.dtype) if isinstance(source, Value) else source
    if short in _UNARY:
        kind = "logical_not" if short == "bitwise_not" else short
        return writer.emit(kind, example.shape, example.dtype, writer.reference(args[0]))
    if short in _WITH_NUMBERS:
        defaults = _WITH_NUMBERS[short]
        numbers = [*args[1:], *defaults[len(args) - 1 :]]
        return writer.emit(short, example.shape, example.dtype, writer.reference(args[0]), *numbers)
    if short in _BINARY:
        return _emit_binary(writer, short, args, kwargs, example)
    if short in _REDUCTIONS:
        return _emit_reduction(writer, short, args, example)
    special: dict[str, Emit] = {
        "clamp": _emit_clamp,
        "gelu": lambda w, a, k, e: w.emit("gelu", e.shape, e.dtype, w.reference(a[0])),
        "where": _emit_where,
        "addmm": lambda w, a, k, e: _emit_product(w, a[1], a[2], a[0], e),
        "mm": lambda w, a, k, e: _emit_product(w, a[0], a[1], None, e),
        "bmm": _emit_products,
        "cat": _emit_cat,
        "convolution": _emit_convolution,
        "constant_pad_nd": _emit_padding,
        "upsample_nearest2d": _emit_upsampling,
        "slice_scatter": _emit_scatter("slice_scatter"),
        "full_like": lambda w, a, k, e: torch.full(e.shape, a[1], dtype=e.dtype),
        "index": _emit_index,
        "gather": _emit_gather,
        "cumsum": _emit_cumsum,
        "rrelu_with_noise_functional": _emit_rrelu,
        "index_put": _emit_scatter("index_put"),
        "select_scatter": _emit_scatter("select_scatter"),
    }
    if short not in special or (short == "gelu" and kwargs.get("approximate", "none") != "none"):
        raise RunError(_unknown(name))
    return special[short](writer, args, kwargs, example)


def _unknown(name: str) -> str:
    return (
        f"it computes {name}, which pages do not know: explore runs whose networks are linear or "
        "convolutional layers, elementwise functions, and the transforms of this package"
    )


def _broadcast(writer: Writer, part: Any, shape: torch.Size) -> Any:
    """A value or tensor of that shape, or one number."""
    if not isinstance(part, Value | Tensor):
        return part
    if part.shape.numel() == 1 and isinstance(part, Tensor):
        return part
    if part.shape == shape or part.shape.numel() == shape.numel():
        return part
    places = torch.arange(part.shape.numel()).view(part.shape).expand(shape)
    return writer.taken(part, places)


def _emit_binary(writer: Writer, short: str, args: Any, kwargs: Any, example: Any) -> Value:
    a, b = args[:2]
    if kwargs.get("alpha", 1) != 1:
        if isinstance(b, Value):
            b = writer.emit("mul", b.shape, b.dtype, writer.reference(b), kwargs["alpha"])
        else:
            b = b * kwargs["alpha"]
    if kwargs.get("rounding_mode"):
        raise RunError(_unknown(f"{short} with rounding"))
    if short in ("add", "sub") and isinstance(b, Tensor) and not b.any() and a.shape == example.shape:
        return a
    left, right = (writer.reference(_broadcast(writer, part, example.shape)) for part in (a, b))
    return writer.emit(_ALSO.get(short, short), example.shape, example.dtype, left, right)


def _emit_clamp(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    low, high = [*args[1:], None, None][:2]
    result = args[0]
    for kind, bound in (("maximum", kwargs.get("min", low)), ("minimum", kwargs.get("max", high))):
        if bound is not None:
            result = writer.emit(kind, example.shape, example.dtype, writer.reference(result), writer.reference(bound))
    return result


def _emit_where(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    parts = [writer.reference(_broadcast(writer, part, example.shape)) for part in args]
    return writer.emit("where", example.shape, example.dtype, *parts)


def _emit_reduction(writer: Writer, short: str, args: Any, example: Any) -> Value:
    source = args[0]
    dims = args[1] if len(args) > 1 and args[1] is not None and args[1] != [] else range(len(source.shape))
    dims = sorted(d % len(source.shape) for d in ([dims] if isinstance(dims, int) else dims))
    others = [d for d in range(len(source.shape)) if d not in dims]
    places = torch.arange(source.shape.numel()).view(source.shape).permute(*others, *dims)
    count = math.prod(source.shape[d] for d in dims)
    name = writer.reference(writer.taken(source, places))
    return writer.emit(short, example.shape, example.dtype, name, count)


def _emit_product(writer: Writer, a: Any, b: Any, bias: Any, example: Any) -> Value:
    """a @ b + bias as a linear layer: the rows of the second factor are those of the transposed b."""
    rows = b.T.contiguous() if isinstance(b, Tensor) else writer.moved(torch.t, (b,), {})
    columns, inner = rows.shape
    added = 0 if bias is None else writer.reference(_broadcast(writer, bias, torch.Size([columns])))
    left = writer.constants.add(a) if isinstance(a, Tensor) else a.name
    right = writer.constants.add(rows) if isinstance(rows, Tensor) else rows.name
    return writer.emit("linear", example.shape, example.dtype, left, right, added, inner, columns)


def _emit_products(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    a, b = args
    second = b.transpose(1, 2).contiguous() if isinstance(b, Tensor) else writer.moved(torch.transpose, (b, 1, 2), {})
    batch, rows, inner = a.shape
    names = [writer.constants.add(part) if isinstance(part, Tensor) else part.name for part in (a, second)]
    return writer.emit("products", example.shape, example.dtype, *names, batch, rows, inner, b.shape[2])


def _emit_cat(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    dim = (args[1] if len(args) > 1 else 0) % len(example.shape)
    parts = [part for part in args[0] if part.shape.numel()]
    outer = math.prod(example.shape[:dim])
    names = [writer.constants.add(part) if isinstance(part, Tensor) else part.name for part in parts]
    sizes = [part.shape.numel() // outer for part in parts]
    return writer.emit("cat", example.shape, example.dtype, names, sizes, outer)


def _emit_convolution(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = args
    if groups != 1 or set(dilation) != {1} or len(stride) != 2 or len({*padding}) > 1 or len({*stride}) > 1:
        raise RunError(_unknown("a convolution with groups, dilation or uneven strides"))
    if not isinstance(weight, Tensor):
        raise RunError(_unknown("a convolution whose weights depend on its input"))
    if transposed:  # the same sums in the other direction: (out, in, h, w), as for other convolutions
        weight = weight.transpose(0, 1).contiguous()
    added = 0 if bias is None else writer.constants.add(bias)
    numbers = [list(x.shape), list(weight.shape), list(example.shape[2:]), stride[0], padding[0]]
    kind = "conv_transposed" if transposed else "conv"
    return writer.emit(kind, example.shape, example.dtype, x.name, writer.constants.add(weight), added, *numbers)


def _emit_padding(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    source, widths = args[:2]
    value = args[2] if len(args) > 2 else 0
    places = torch.arange(1, source.shape.numel() + 1).view(source.shape)
    return _placed(writer, [torch.tensor([float(value)]), source], torch.constant_pad_nd(places, widths, 0))


def _emit_upsampling(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    source = args[0]
    places = torch.arange(source.shape.numel()).view(source.shape).double()
    return writer.taken(source, torch.nn.functional.interpolate(places, list(example.shape[-2:])).long())


def _emit_index(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    source, indices = args
    if any(isinstance(index, Value) for index in indices):
        raise RunError(_unknown("an index that depends on the input"))
    places = torch.arange(source.shape.numel()).view(source.shape)
    return writer.taken(source, torch.ops.aten.index.Tensor(places, indices))


def _emit_gather(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    """The numbers at these indices along a dimension; the indices may depend on the input."""
    source, dim, index = args
    places = torch.arange(source.shape.numel()).view(source.shape)
    if isinstance(index, Tensor):
        return writer.taken(source, places.gather(dim, index))
    start = places.select(dim, 0).unsqueeze(dim)
    for other, size in enumerate(index.shape):
        start = start.narrow(other, 0, size if other != dim % len(index.shape) else 1)
    dtype, step = index.dtype, places.stride(dim)
    scaled = writer.emit("mul", index.shape, dtype, index.name, step)
    found = writer.emit("add", index.shape, dtype, scaled.name, writer.exact(start.expand(index.shape)))
    return writer.emit("look", example.shape, example.dtype, writer.exact(source), found.name)


def _emit_cumsum(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
    """Sums of the numbers up to each one, as a product with a triangular matrix."""
    source, dim = args[:2]
    size = source.shape[-1]
    if dim % len(source.shape) != len(source.shape) - 1:
        raise RunError(_unknown("cumsum along another dimension than the last"))
    ones = writer.constants.add(torch.ones(size, size).tril(), exact=True)
    return writer.emit("linear", example.shape, example.dtype, source.name, ones, 0, size, size)


def _emit_rrelu(writer: Writer, args: Any, kwargs: Any, example: Any) -> list[Any]:
    """The leaky ReLU that a random one is when nothing is trained, and the noise that it does not use."""
    x, noise, lower, upper = [*args, 1 / 8, 1 / 3][:4]
    return [writer.emit("leaky_relu", x.shape, x.dtype, x.name, (lower + upper) / 2), noise]


def _emit_scatter(short: str) -> Emit:
    """Numbers put at fixed places of others: what the same operation does to their places says how."""

    def emit(writer: Writer, args: Any, kwargs: Any, example: Any) -> Value:
        source_at = 2 if short == "index_put" else 1
        into, source = args[0], args[source_at]
        if any(isinstance(part, Value) for part in (*args[1:source_at], *args[source_at + 1 :])):
            raise RunError(_unknown(f"{short} at places that depend on the input"))
        count = into.shape.numel()
        places = [torch.arange(count).view(into.shape), *args[1:]]
        places[source_at] = torch.arange(count, count + source.shape.numel()).view(source.shape)
        if short == "index_put":
            places[1] = [*places[1]]
        return _placed(writer, [into, source], getattr(torch.ops.aten, short)(*places, **kwargs))

    return emit


def _placed(writer: Writer, parts: list[Any], places: Tensor) -> Value:
    """Numbers of several parts, one after the other, at these places."""
    names = [writer.constants.add(part) if isinstance(part, Tensor) else part.name for part in parts]
    sizes = [part.shape.numel() for part in parts]
    dtype = next(part.dtype for part in parts if isinstance(part, Value))
    joined = writer.emit("cat", torch.Size([sum(sizes)]), dtype, names, sizes, 1)
    return writer.taken(joined, places)
