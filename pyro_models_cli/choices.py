"""Parts of a pair, chosen by name, and their descriptions."""

import difflib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.runs.build import check_kind, check_may_import, import_object
from inference.runs.parts import find_part, is_plain, options_of

Part = str | Mapping[str, Any]  # a name, an import path, or {"class_path": ..., "init_args": {...}}


@dataclass(frozen=True)
class Choice:
    """A part chosen by name: ``--prior NAME --prior.option ...``.

    Args:
        role: name of the option.
        names: this project's parts to choose from; the first is the default.
        help: one phrase.
        kind: the role in the table of parts, if its name differs.
        for_vectors: the default where the data are vectors, if it is another.
    """

    role: str
    names: tuple[str, ...]
    help: str
    kind: str = ""
    for_vectors: str = ""

    def usual(self, kind_of_data: str) -> str:
        """The name of the default for data of a kind, "images" or "vectors"."""
        return self.for_vectors if self.for_vectors and kind_of_data == "vectors" else self.names[0]

    def constructor(self, path: str) -> Callable[..., Any]:
        """The class, or the function that makes one, behind a name or an import path.

        Raises:
            ValueError: if there is none, or it plays another role.
        """
        known = find_part(path)
        if (known is None and "." not in path) or (known is not None and known.name not in self.names):
            near = difflib.get_close_matches(path, self.names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            names = ", ".join(self.names)
            raise ValueError(
                f"unknown {self.role} {path!r}: {hint}expected one of {names}, or the import path of a class of "
                "your own, such as mine.Part"
            )
        constructor = import_object(path)
        check_kind(constructor, path, self.kind or self.role)
        return constructor

    def described(self, part: Part, allow: Sequence[str] = ()) -> dict[str, Any]:
        """The complete description of a part, with the defaults of the options it leaves out.

        Raises:
            ValueError: if it does not describe a part for this role, or ``allow`` does not cover its class.
        """
        described = dict(part) if isinstance(part, Mapping) else {"class_path": part}
        path = described.get("class_path")
        if not isinstance(path, str) or not described.keys() <= {"class_path", "init_args"}:
            raise ValueError(f"{self.role} must be a name, or described by class_path and init_args; got {part!r}")
        if find_part(path) is None and "." in path:
            check_may_import(path, allow)
        self.constructor(path)
        worked_out = sorted(name for name in described.get("init_args") or () if is_given(name, path))
        if worked_out:
            raise ValueError(f"{self.role} gets {', '.join(worked_out)} from the other options: leave it out")
        return json.loads(json.dumps(with_defaults(described, allow)))  # lists, however they were given


# what a command works out itself and passes to every part that takes it
_GIVEN = {
    *("latent_dim", "top_dim", "image_shape", "levels", "num_classes", "context", "per_pixel"),
    *("model", "guide", "prior", "decoder", "encoder", "likelihood", "flow"),
}


def is_given(name: str, path: str) -> bool:
    """Whether a command works out an option of a part itself; "size" may be an option of its own in a user's part."""
    return name in _GIVEN or (name == "size" and find_part(path) is not None)


def with_defaults(part: Any, allow: Sequence[str] = ()) -> Any:
    """The description of a part, completed with defaults; anything else is returned as it is."""
    if not isinstance(part, dict) or "class_path" not in part:
        return part
    known = find_part(part["class_path"])
    constructor = known.constructor if known else import_object(part["class_path"], allow)
    parameters = inspect.signature(constructor).parameters
    options = options_of(constructor).items()
    plain = [name for name, hint in options if not is_given(name, part["class_path"]) and is_plain(hint)]
    own = {name: parameters[name].default for name in plain if parameters[name].default is not inspect.Parameter.empty}
    given = dict(part.get("init_args") or {})
    return {"class_path": known.path if known else part["class_path"], "init_args": own | given}


def describe(part: Part, **given: Any) -> dict[str, Any]:
    """The description of a part, see ``inference.runs.build``: its chosen options, and what it takes of ``given``.

    Args:
        part: name or import path, or a description.
        given: values that the command works out itself.
    """
    path, chosen = (part, {}) if isinstance(part, str) else (part["class_path"], part["init_args"])
    accepted = inspect.signature(import_object(path)).parameters
    known = {name: value for name, value in given.items() if name in accepted and is_given(name, path)}
    return {"class_path": path, "init_args": {**chosen, **known}}
