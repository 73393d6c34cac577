"""Results of operations by name, the numbers that operations need, and values that only move."""

import base64
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SMALL = 2048  # numbers in a tensor that is kept in single precision whatever the others are


@dataclass(frozen=True)
class Value:
    """The result of an operation.

    Args:
        name: how operations refer to it.
        shape: its shape.
        dtype: what torch computes it in; a page computes all numbers in double precision.
    """

    name: str
    shape: torch.Size
    dtype: torch.dtype


class Constants:
    """Weights and other fixed numbers, each once, packed into one string.

    Args:
        precision: float16 or float32; tensors of few numbers, or with numbers beyond float16, are float32.
    """

    def __init__(self, precision: str = "float16") -> None:
        self.precision = precision
        self.names: dict[tuple[str, bytes], str] = {}
        self.table: dict[str, dict[str, Any]] = {}
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, tensor: Tensor, exact: bool = False) -> str:
        """The name of a constant; an exact one is float32 however large it is, and bytes stay bytes."""
        numbers = tensor.detach().cpu().contiguous().flatten()
        if numbers.dtype != torch.uint8:
            numbers = numbers.float()
            half = numbers.half()
            if not exact and self.precision == "float16" and len(numbers) > SMALL and half.isfinite().all():
                numbers = half
        kind = str(numbers.dtype).removeprefix("torch.")
        content = numbers.numpy().tobytes()
        key = (kind, content)
        if key not in self.names:
            self.names[key] = f"c{len(self.names)}"
            self.table[self.names[key]] = {"start": self.size, "length": len(numbers), "kind": kind}
            content += bytes(-len(content) % 4)  # so that every constant begins at a multiple of four bytes
            self.parts.append(content)
            self.size += len(content)
        return self.names[key]

    def packed(self) -> dict[str, Any]:
        """What the page reads: where each constant lies, and all bytes in base64."""
        return {"table": self.table, "bytes": base64.b64encode(b"".join(self.parts)).decode()}


class Writer:
    """Appends operations to a list."""

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.operations: list[list[Any]] = []
        self.count = 0

    def new(self, shape: Any, dtype: torch.dtype) -> Value:
        self.count += 1
        return Value(f"v{self.count}", torch.Size(shape), dtype)

    def reference(self, part: Any) -> Any:
        """How an operation refers to a value, a tensor or a number; tensors of one number become that number."""
        if isinstance(part, Value):
            return part.name
        if isinstance(part, Tensor):
            return _number(part.item()) if part.numel() == 1 else self.constants.add(part)
        return _number(part)

    def exact(self, part: "Value | Tensor") -> str:
        """How an operation refers to the elements of a value or a tensor, however few, in single precision."""
        return part.name if isinstance(part, Value) else self.constants.add(part, exact=True)

    def emit(self, name: str, shape: Any, dtype: torch.dtype, *parts: Any) -> Value:
        result = self.new(shape, dtype)
        self.operations.append([name, result.name, *parts])
        return result

    def moved(self, target: Any, args: Any, kwargs: Any) -> Any:
        """The result of an operation that moves, repeats or drops numbers without changing them."""
        source = args[0]
        places = torch.arange(source.shape.numel()).view(source.shape)
        found = target(places, *args[1:], **kwargs)
        if isinstance(found, Tensor):
            return self.taken(source, found)
        return [self.taken(source, part) for part in found]

    def taken(self, source: Value | Tensor, places: Tensor) -> Value:
        """The numbers of a value at these places, in the shape of ``places``."""
        dtype = source.dtype
        flat = places.flatten()
        if isinstance(source, Value) and torch.equal(flat, torch.arange(source.shape.numel())):
            return Value(source.name, places.shape, dtype)
        name = self.reference(source)
        regular = _regular(places)
        if regular is None:
            return self.emit("look", places.shape, dtype, name, self.constants.add(flat, exact=True))
        return self.emit("take", places.shape, dtype, name, *regular)


def _regular(places: Tensor) -> tuple[int, list[int], list[int]] | None:
    """Start, sizes and steps, if the places are evenly spaced along every dimension."""
    if not places.numel():
        return 0, [0], [1]
    start = int(places.flatten()[0])
    sizes, steps = list(places.shape), []
    again = torch.full((), start)
    for dim, size in enumerate(sizes):
        first = places[(0,) * dim]
        step = int(first[(1,) + (0,) * (first.dim() - 1)]) - start if size > 1 else 0
        steps.append(step)
        again = again[..., None] + step * torch.arange(size)
    return (start, sizes, steps) if torch.equal(again.view(places.shape), places) else None


def _number(value: Any) -> float:
    number = float(value)
    if number != number or number in (float("inf"), -float("inf")):
        return str(number)  # type: ignore[return-value]  # JSON has neither
    return int(number) if number.is_integer() and abs(number) < 1e15 else number
