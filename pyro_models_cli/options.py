"""Options of the commands as frozen dataclasses; their fields and docstrings become flags and help."""

import inspect
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from inference import Settings

CONFIGS = Path(__file__).parent / "configs"


def one_of(names: Sequence[str], default: str | None, **by_kind: str) -> Any:
    """A field with a fixed list of names to choose from; without a default, the kind of the data may give one."""
    return field(default=default, metadata={"choices": tuple(names), "by_kind": by_kind})


def check_choices(options: Any) -> None:
    """Check that every field made by :func:`one_of` has one of its names.

    Raises:
        ValueError: if not.
    """
    for entry in fields(options):
        names, value = entry.metadata.get("choices"), getattr(options, entry.name)
        if names and value not in names and value != entry.default:
            raise ValueError(f"{entry.name} must be one of {', '.join(names)}; got {value!r}")


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Options for reading a run.

    Args:
        dataset: the run's data, if they are no longer in their place; they must be the same.
        data_root: folder of the data sets; by default the run's own.
        allow_import: packages of your own whose classes a run may name.
    """

    dataset: str | None = None
    data_root: str | None = None
    allow_import: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass(frozen=True, kw_only=True)
class ComputingOptions(ReadingOptions):
    """Options for computing with a run.

    Args:
        device: where to compute: auto (a GPU if there is one, else the CPU), cpu, cuda, cuda:1 or mps.
    """

    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class RunOptions(ComputingOptions):
    """Options for reading the weights of a run.

    Args:
        checkpoint: which weights to take; by default the best if images were held out to choose them by, else
            the last.
    """

    checkpoint: str | None = one_of(("last", "best", "previous"), None)


def homes(options: type) -> list[tuple[type, list[Field]]]:
    """The ancestors of a class of options, each with the fields it adds, the class itself first."""
    found: list[tuple[type, list[Field]]] = []
    seen: set[str] = set()
    for home in reversed(options.__mro__):
        own = [entry for entry in fields(options) if entry.name in inspect.get_annotations(home)]
        found.append((home, [entry for entry in own if entry.name not in seen]))
        seen |= {entry.name for entry in own}
    return [(home, own) for home, own in reversed(found) if own]


def ordered(options: type) -> list[Field]:
    """All fields of a class of options, its own first."""
    return [entry for _, own in homes(options) for entry in own]


def is_flag(options: type, entry: Field) -> bool:
    """Whether a field is a flag without a value; settings of the fit take true or false."""
    return entry.type in (bool, "bool") and entry.name not in Settings.__dataclass_fields__


def packaged(name: str) -> Path:
    """The file of that name that comes with the package, such as ``zoo``, or else the user's own."""
    ours = CONFIGS / f"{name}.yaml"
    return ours if name.isidentifier() and ours.is_file() else Path(name)
