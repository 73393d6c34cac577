"""What the scripts share on the command line: swappable parts, one-line errors, descriptions."""

import argparse
import difflib
import inspect
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _interrupts
import jsonargparse
from _configuration import MAY_NAME, packages_named, read_configuration
from _streams import lasting_streams
from torch import nn

from inference import Run, import_object


class _AnyModule(type):
    """Lets any ``torch.nn.Module`` pass as a part: the contract is its signature, not its base class."""

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, nn.Module)


class Module(nn.Module, metaclass=_AnyModule):
    """A part of a model, chosen by name:"""


@dataclass(frozen=True)
class Choice:
    """A part that is swapped by name, with options of its own: ``--prior NAME --prior.option ...``.

    Args:
        role: name of the option.
        names: what it may be, from ``package``; the first is the default.
        help: one phrase.
        package: where the names are imported from.
        base: class that all choices share, if there is one.
    """

    role: str
    names: tuple[str, ...]
    help: str
    package: str = "pyro_models"
    base: type = Module

    def path(self, name: str) -> str:
        return name if "." in name else f"{self.package}.{name}"


# what a script knows by itself, and so passes to every part that takes it
GIVEN = {
    *("latent_dim", "top_dim", "image_shape", "levels", "num_classes", "context", "per_pixel"),
    *("model", "guide", "prior", "decoder", "encoder", "likelihood", "flow"),
}


class Parser(jsonargparse.ArgumentParser):
    """An argument parser with swappable parts, whose errors are one line."""

    choices: dict[str, Choice] = {}
    allowed: list[str] = []  # packages whose classes may be made
    typed: set[str] = set()  # options on the command line itself

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_choices(self, *choices: Choice) -> None:
        """Options ``--role NAME`` and ``--role.option``, and ``--config`` to take them from a file."""
        self.choices = {choice.role: choice for choice in choices}
        self.add_argument("--config", action="config", help="YAML file of options, such as a run's config.yaml")
        group = self.add_argument_group("parts, swapped by name; --prior.help NAME and so on show a part's options")
        for choice in choices:
            group.add_subclass_arguments(
                choice.base,
                choice.role,
                as_group=False,
                skip=GIVEN,
                required=False,
                default={"class_path": choice.path(choice.names[0])},
                metavar="NAME",
                help=f"{choice.help}: {', '.join(choice.names)}, or the import path of your own",
            )
        for action in self._actions:
            if action.dest.removesuffix(".help") in self.choices:
                # the names are in the help already; the library would list every subclass it can find
                action._jsonargparse_preexpanded_help = True
                action.help = argparse.SUPPRESS if action.dest.endswith(".help") else action.help

    def parse(self, argv: Sequence[str] | None = None) -> jsonargparse.Namespace:
        """Options from the command line, after names of parts are resolved; ``--resume`` recalls the run's."""
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # a user's own parts
        argv = self._resolve(list(sys.argv[1:] if argv is None else argv))
        out = _value_of("--out", argv)
        if "--resume" in argv and out is not None:
            Run(Path(out)).settle()
            config = Path(out) / "config.yaml"
            if not config.is_file():
                raise FileNotFoundError(f"there is no run to resume in {out}")
            argv = ["--config", str(config), *argv]
        named = packages_named([value for role in self.choices for value in _values_of(f"--{role}", argv)])
        self.allowed = [*MAY_NAME, *_values_of("--allow_import", argv), *sorted(named)]
        self.typed = {token.partition("=")[0].removeprefix("--") for token in argv if token.startswith("--")}
        return self.parse_args(self._with_configurations(argv))

    def _with_configurations(self, argv: list[str]) -> list[str]:
        """Options with the names of configuration files replaced by what they hold, once it is known to be plain."""
        known = list(dict.fromkeys(action.dest.partition(".")[0] for action in self._actions))
        replaced: list[str] = []
        for token, before in zip(argv, ["", *argv], strict=False):
            option, equals, value = token.partition("=")
            file = value if equals and option == "--config" else token if before == "--config" else None
            if file is None:
                replaced.append(token)
                continue
            try:
                text = read_configuration(file, known, self.choices, self.allowed)
            except ValueError as error:
                self.error(str(error))
            replaced.append(f"--config={text}" if equals else text)
        return replaced

    def _resolve(self, argv: list[str]) -> list[str]:
        """Names of parts as import paths, each with its own defaults: none is to inherit those of another part."""
        whole = str if "--resume" in argv else _with_defaults
        resolved: list[str] = []
        for token, before in zip(argv, ["", *argv], strict=False):
            option, equals, value = token.partition("=")
            role = option.removeprefix("--").removesuffix(".help")
            if equals and role in self.choices and option.startswith("--"):
                token = f"{option}={whole(self._path(role, value))}"
            elif before.startswith("--") and before[2:].removesuffix(".help") in self.choices:
                role = before[2:].removesuffix(".help")
                path = self._path(role, token)
                if before.endswith(".help"):
                    self._print_part_help(role, path)
                token = whole(path)
            resolved.append(token)
        return resolved

    def _path(self, role: str, name: str) -> str:
        if not name.isidentifier():
            return name  # an import path, or something for the parser to refuse
        names = self.choices[role].names
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            self.error(
                f"unknown {role} {name!r}: {hint}expected one of {', '.join(names)}, or the import path of your own"
            )
        return self.choices[role].path(name)

    def _print_part_help(self, role: str, path: str) -> None:
        part = import_object(path)
        parser = jsonargparse.ArgumentParser(prog=f"--{role} {path.rpartition('.')[2]}", add_help=False)
        add = parser.add_class_arguments if inspect.isclass(part) else parser.add_function_arguments
        add(part, role, as_group=False, skip=GIVEN & set(inspect.signature(part).parameters))
        parser.print_help()
        self.exit(0)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if not self.exit_on_error:  # a parser within a parser: the outer one reports
            super().error(message, ex)
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")


def _with_defaults(path: str) -> str:
    """A part and its defaults, those that JSON can hold, as the parser reads it; the path if there is no such part."""
    try:
        return json.dumps(with_defaults({"class_path": path}))
    except (ImportError, AttributeError, TypeError, ValueError):
        return path  # the parser says why


def with_defaults(part: Any) -> Any:
    """The description of a part with the defaults of what it does not say; anything else is itself."""
    if not isinstance(part, dict) or "class_path" not in part:
        return part
    parameters = inspect.signature(import_object(part["class_path"])).parameters
    own = {name: p.default for name, p in parameters.items() if name not in GIVEN and _is_plain(p.default)}
    return {"class_path": part["class_path"], "init_args": own | (part.get("init_args") or {})}


def _is_plain(value: Any) -> bool:
    finite = not isinstance(value, float) or math.isfinite(value)
    return finite and isinstance(value, (str, int, float, bool, type(None), list, tuple))


def _value_of(option: str, argv: list[str]) -> str | None:
    return next(iter(_values_of(option, argv)), None)


def _values_of(option: str, argv: list[str]) -> list[str]:
    """The words that follow an option wherever it is given."""
    values: list[str] = []
    taking = False
    for token in argv:
        name, equals, value = token.partition("=")
        if token.startswith("--"):
            taking = name == option
            values += [value] if taking and equals else []
        elif taking:
            values.append(token)
    return values


def describe(path: str | jsonargparse.Namespace, **given: Any) -> dict[str, Any]:
    """The description of a part, see ``inference.build``: its chosen options and what it takes of ``given``.

    Args:
        path: import path, or what a parser made of a :class:`Choice`.
        given: values for the parameters that the script knows by itself.
    """
    chosen: dict[str, Any] = {}
    if isinstance(path, jsonargparse.Namespace):
        chosen = dict(path.get("init_args") or {})
        path = path.class_path
    accepted = inspect.signature(import_object(path)).parameters
    known = {name: value for name, value in given.items() if name in accepted}
    return {"class_path": path, "init_args": chosen | known}


def main(function: Callable[[], None]) -> None:
    """Run a script: bad values exit with 2, failures with 1, each with one line and no traceback.

    ``PYRO_MODELS_DEBUG=1`` shows tracebacks.
    """
    warnings.showwarning = _warn
    _interrupts.raise_again()
    with lasting_streams() as out:
        try:
            check_arguments_are_text()
            function()
            out.check()
        except KeyboardInterrupt as stop:
            _stop(128 + getattr(stop, "signum", signal.SIGINT), str(stop) or "interrupted")
        except (ValueError, TypeError, NotImplementedError) as error:
            _stop(2, error)
        except (OSError, RuntimeError, ArithmeticError) as error:
            _stop(1, error)
        except Exception as error:  # from a user's own parts, or a fault of ours
            _stop(1, error, f"{type(error).__name__}: {error} (PYRO_MODELS_DEBUG=1 shows where)")


def check_arguments_are_text() -> None:
    """Make sure that what was typed can be written into a run's files.

    Raises:
        ValueError: if not: some libraries cannot even open files of such names.
    """
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{argument!r} is not valid UTF-8: files and folders need other names") from error


def _warn(message: Warning | str, category: type[Warning], *_: Any) -> None:
    print(f"{Path(sys.argv[0]).name}: warning: {one_line(str(message))}", file=sys.stderr)


def _stop(code: int, reason: BaseException | str, message: str | None = None) -> None:
    if os.environ.get("PYRO_MODELS_DEBUG") and isinstance(reason, BaseException):
        raise reason
    text = (message or str(reason)).partition("Trace Shapes:")[0]  # Pyro adds pages
    if "gloo" in text or "nccl" in text.lower():
        text = "another process has failed: its message says why"
    print(f"{Path(sys.argv[0]).name}: error: {one_line(text)}", file=sys.stderr)
    sys.exit(code)


def one_line(text: str) -> str:
    """The text without line breaks, and with what a terminal would obey made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))
