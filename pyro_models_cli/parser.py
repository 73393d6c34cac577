"""Options on the command line and in files: parts swapped by name, each with options of its own."""

import argparse
import difflib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docstring_parser
import jsonargparse
import yaml

from inference import Run
from inference.runs.build import check_kind, check_may_import, import_object
from inference.runs.parts import find_part, is_plain, options_of
from pyro_models_cli.configuration import TYPED_ALONE, Configuration, as_typed
from pyro_models_cli.words import one_line, plainly, unmarked


@dataclass(frozen=True)
class Choice:
    """A part that is swapped by name: ``--prior NAME --prior.option ...``.

    Args:
        role: name of the option.
        names: of this project's parts, those to choose from; the first is the default.
        help: one phrase.
        kind: the role in the table of parts, where it has another name.
    """

    role: str
    names: tuple[str, ...]
    help: str
    kind: str = ""

    def constructor(self, path: str) -> Callable[..., Any]:
        """The class, or the function that makes one, behind a name or an import path.

        Raises:
            ValueError: if there is none, or it is for another role.
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


# what a script knows by itself, and so passes to every part that takes it
GIVEN = {
    *("latent_dim", "top_dim", "image_shape", "levels", "num_classes", "context", "per_pixel"),
    *("model", "guide", "prior", "decoder", "encoder", "likelihood", "flow"),
}


class Parser(jsonargparse.ArgumentParser):
    """An argument parser with swappable parts, whose errors are one line.

    Which parts are chosen is read first; then the options of just these are added, and everything
    is parsed once.  What a configuration file gives is parsed as if it stood on the command line,
    before what does.
    """

    choices: dict[str, Choice] = {}
    allowed: list[str] = []  # packages of the user's own whose classes may be made, and classes that were typed
    typed: set[str] = set()  # options on the command line itself
    own_command = True  # of this process, which an error ends

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_choices(self, *choices: Choice) -> None:
        """Options ``--role NAME`` and ``--role.option``, and ``--config`` to take options from a file."""
        self.choices = {choice.role: choice for choice in choices}
        self.usage = "%(prog)s --out FOLDER [--option VALUE ...]"
        self.add_argument("--config", metavar="FILE", help="YAML file of options, such as a run's config.yaml")
        self.add_argument("--print_config", action="store_true", help="print all options as such a file, and stop")

    def parse(self, argv: Sequence[str] | None = None, trusted: bool = True) -> jsonargparse.Namespace:
        """All options; a part's are ``{"class_path": ..., "init_args": {...}}`` under its role.

        Args:
            argv: the command line; that of this process if not given.
            trusted: whether a person typed it, who may name classes of their own.

        Raises:
            ValueError: if ``argv`` is given and wrong; this process's own ends with one line.
        """
        self.own_command = argv is None
        argv = list(sys.argv[1:] if argv is None else argv)
        try:
            chosen, rest = _Peek(self.choices).parse_known_args(without_replaced(argv, self.choices))
            self.typed = {word.partition("=")[0].removeprefix("--") for word in rest if word.startswith("--")}
            parts, words = self._chosen(chosen, rest, trusted) if self.choices else ({}, [])
        except ValueError as error:
            return self.error(str(error))
        printed = self.choices and chosen.print_config
        options = self.parse_args([*words, *rest, *(["--out="] if printed and "out" not in self.typed else [])])
        if options.get("allow_import"):
            _look_here_too()
        for role, part in parts.items():
            plain = json.loads(json.dumps((options.get(role) or jsonargparse.Namespace()).as_dict()))
            options[role] = {"class_path": part["class_path"], "init_args": plain}
        if printed:
            print(yaml.safe_dump(config_of(options, self.choices), sort_keys=False), end="")
            self.exit(0)
        return options

    def _chosen(self, chosen: Any, rest: list[str], trusted: bool) -> tuple[dict[str, dict], list[str]]:
        """The part for every role, whose options are added here; what files give, as words of a command line."""
        names = {role: getattr(chosen, role) for role in self.choices}
        peeked = _Peek([], runs=True).parse_known_args(rest)[0]
        own = {name for name in names.values() if name and find_part(name) is None and "." in name}
        self.allowed = [*peeked.allow_import, *(sorted(own) if trusted else [])]
        for name in own:
            check_may_import(name, self.allowed)
        if self.allowed:
            _look_here_too()
        for role, choice in self.choices.items():
            if name := getattr(chosen, f"{role}.help"):
                _look_here_too()
                self._print_part_help(role, choice.constructor(name))
        parts: dict[str, dict[str, Any]] = {}
        words: list[str] = []
        for file in [*self._resumed(peeked), *(chosen.config or [])]:
            known = {action.dest for action in self._actions}
            configuration = Configuration(file, known, self.choices, self.allowed)
            parts |= configuration.parts
            words += [word for name, value in configuration.plain.items() for word in self._typed(file, name, value)]
        for role, choice in self.choices.items():
            part = parts.get(role, {"class_path": choice.names[0]})
            constructor = choice.constructor(names[role] or part["class_path"])
            if constructor is import_object(part["class_path"]):  # options in a file are those of the part in it
                words += [as_typed(f"{role}.{name}", value) for name, value in part.get("init_args", {}).items()]
            path = names[role] or part["class_path"]
            known_part = find_part(path)
            parts[role] = {"class_path": known_part.path if known_part else path}
            self._add_options(self, choice, constructor)
        return parts, words

    def _resumed(self, peeked: Any) -> list[str]:
        if not peeked.resume or peeked.out is None:
            return []
        Run(Path(peeked.out)).settle()
        file = Path(peeked.out) / "config.yaml"
        if not file.is_file():
            raise FileNotFoundError(f"there is no run to resume in {peeked.out}")
        return [str(file)]

    def _typed(self, file: str, name: str, value: Any) -> list[str]:
        if not any(action.dest == name and action.nargs == 0 for action in self._actions):
            return [as_typed(name, value)]
        if not isinstance(value, bool):
            raise ValueError(f"{file} must give {name} as true or false; got {value!r}")
        return [f"--{name}"] if value else []

    @staticmethod
    def _add_options(parser: Any, choice: Choice, constructor: Callable[..., Any]) -> None:
        """The options of a part, in a group that says what else could be chosen."""
        group = parser.add_argument_group(
            f"--{choice.role} NAME: {choice.help}",
            f"{', '.join(choice.names)}, or the import path of your own; chosen: {constructor.__name__}",
        )
        parameters = inspect.signature(constructor).parameters
        documented = docstring_parser.parse(constructor.__doc__ or "").params
        help_of = {parameter.arg_name: unmarked(parameter.description or "") for parameter in documented}
        for name, hint in options_of(constructor).items():
            default = parameters[name].default
            needed = default is inspect.Parameter.empty
            if name in GIVEN or not is_plain(hint):
                if needed and name not in GIVEN:
                    raise ValueError(
                        f"{constructor.__name__} needs {name}, which no option can give: annotate it as int, float, "
                        "bool, str or a list of these, or give it a default"
                    )
                continue
            group.add_argument(
                f"--{choice.role}.{name}",
                type=hint,
                help=help_of.get(name, " "),
                **({"required": True} if needed else {"default": default}),
            )

    def _print_part_help(self, role: str, constructor: Callable[..., Any]) -> None:
        parser = jsonargparse.ArgumentParser(prog=f"--{role} {constructor.__name__}", add_help=False)
        self._add_options(parser, self.choices[role], constructor)
        parser.print_help()
        self.exit(0)

    def exit(self, status: int = 0, message: str | None = None) -> Any:
        if not self.own_command:
            raise ValueError(message or "help is for the command line alone")
        super().exit(status, message)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if not self.exit_on_error:  # a parser within a parser: the outer one reports
            super().error(message, ex)
        if not self.own_command:
            raise ValueError(one_line(plainly(message)))
        self.exit(2, f"{self.prog}: error: {one_line(plainly(message))}\n")


def _look_here_too() -> None:
    """Find a user's own parts in the current folder: last, or a file there could take the place of a library."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


class _Peek(argparse.ArgumentParser):
    """Reads which parts and files are chosen, or with ``runs`` which run, and leaves the rest alone."""

    def __init__(self, roles: Sequence[str] | dict[str, Choice], runs: bool = False) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        if runs:
            self.add_argument("--resume", action="store_true")
            self.add_argument("--out")
            self.add_argument("--allow_import", nargs="+", default=[])
        elif roles:
            self.add_argument("--config", action="append")
            self.add_argument("--print_config", action="store_true")
        for role in roles:
            self.add_argument(f"--{role}")
            self.add_argument(f"--{role}.help")

    def error(self, message: str) -> Any:
        raise ValueError(message)


def without_replaced(argv: Sequence[str], roles: Iterable[str]) -> list[str]:
    """A command line without the options of parts that a later name replaces: rows of a table do so."""
    kept: list[tuple[str, list[str]]] = []  # options, each with its words
    for word in argv:
        if not word.startswith("--"):
            kept[-1:] = [(kept[-1][0], [*kept[-1][1], word])] if kept else [("", [word])]
            continue
        name = word.partition("=")[0].removeprefix("--")
        if name in roles and any(name == before for before, _ in kept):
            kept = [(before, words) for before, words in kept if before.split(".")[0] != name]
        kept.append((name, [word]))
    return [word for _, words in kept for word in words]


def config_of(options: jsonargparse.Namespace, roles: Sequence[str] | dict[str, Choice]) -> dict[str, Any]:
    """The options as a configuration file holds them: parts first, without what is not set or asked for once."""
    plain = json.loads(json.dumps(options.as_dict()))
    order = [*roles, *(name for name in plain if name not in roles)]
    return {name: plain[name] for name in order if plain[name] not in (None, "") and name not in TYPED_ALONE}


def defaults_of(parser: Parser) -> dict[str, Any]:
    """The default of every option but those of parts."""
    plain = json.loads(json.dumps(parser.get_defaults(skip_validation=True).as_dict()))
    return {name: value for name, value in plain.items() if name not in {*parser.choices, *TYPED_ALONE}}


def with_defaults(part: Any, allow: Sequence[str] = ()) -> Any:
    """The description of a part with the defaults of what it does not say; anything else is itself."""
    if not isinstance(part, dict) or "class_path" not in part:
        return part
    known = find_part(part["class_path"])
    constructor = known.constructor if known else import_object(part["class_path"], allow)
    parameters = inspect.signature(constructor).parameters
    own = {n: parameters[n].default for n, hint in options_of(constructor).items() if n not in GIVEN and is_plain(hint)}
    given = part.get("init_args") or {}
    return {"class_path": known.path if known else part["class_path"], "init_args": own | given}


def describe(part: str | dict[str, Any], **given: Any) -> dict[str, Any]:
    """The description of a part, see ``inference.runs.build``: its chosen options and what it takes of ``given``.

    Args:
        part: name or import path, or what a parser made of a :class:`Choice`.
        given: values for the parameters that the script knows by itself.
    """
    path, chosen = (part, {}) if isinstance(part, str) else (part["class_path"], part["init_args"])
    accepted = inspect.signature(import_object(path)).parameters
    known = {name: value for name, value in given.items() if name in accepted}
    return {"class_path": path, "init_args": chosen | known}
