"""Command-line options and configuration files. Parts are swapped by name, and each brings its own options."""

import argparse
import difflib
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

import docstring_parser
import jsonargparse
import yaml

from inference import Run
from inference.data.opening import names_function
from inference.runs.build import check_may_import, import_object
from inference.runs.parts import find_part, is_plain, options_of
from inference.system.imports import look_here_too
from pyro_models_cli.choices import Choice, is_given
from pyro_models_cli.configuration import Configuration, as_typed, config_of
from pyro_models_cli.data import kind_named
from pyro_models_cli.options import homes, is_flag, packaged
from pyro_models_cli.words import Formatter, one_line, plainly, unmarked

Options = TypeVar("Options")


class Parser(jsonargparse.ArgumentParser):
    """An argument parser with swappable parts, whose errors are one line.

    The first pass reads which parts are chosen; then their options are added, and the second pass
    parses everything.  Options from a configuration file are parsed as if they were typed before
    the others.
    """

    choices: dict[str, Choice] = {}
    allowed: list[str] = []  # the user's own packages whose classes may be made, and classes that were typed
    typed: set[str] = set()  # options on the command line itself
    own_command = True  # parses this process's command line, so an error ends it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": Formatter, **kwargs})

    def add_options(self, options: type) -> None:
        """Add the fields of a class of options, one group for each class in its ancestry."""
        help_of, hints = documented(options), typing.get_type_hints(options)
        for home, own in homes(options):
            group = self.add_argument_group((inspect.getdoc(home) or "").splitlines()[0].rstrip("."))
            for entry in own:
                if entry.name not in self.choices:
                    how = _how_typed(entry, hints[entry.name], is_flag(options, entry))
                    group.add_argument(f"--{entry.name}", help=help_of[entry.name], **how)

    def add_choices(self, *choices: Choice) -> None:
        """Add ``--role NAME`` and ``--role.option`` for each choice, and ``--config`` to read options from a file."""
        self.choices = {choice.role: choice for choice in choices}
        self.usage = "%(prog)s --out FOLDER [--option VALUE ...]"
        self.add_argument("--config", metavar="FILE", help="YAML file of options, such as a run's config.yaml")
        self.add_argument("--print_config", action="store_true", help="print all options as such a file, and stop")

    def parse(self, argv: Sequence[str] | None = None, trusted: bool = True) -> jsonargparse.Namespace:
        """Parse all options; a part is ``{"class_path": ..., "init_args": {...}}`` under its role.

        Args:
            argv: the command line; by default this process's own.
            trusted: whether the user typed it, and so may name classes of their own.

        Raises:
            ValueError: if ``argv`` is given and wrong; an error in this process's own ends the process.
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
        look_here_too(options.get("allow_import") or ())
        if self.choices:
            options.allow_import = self.allowed
        for role, part in parts.items():
            plain = json.loads(json.dumps((options.get(role) or jsonargparse.Namespace()).as_dict()))
            options[role] = {"class_path": part["class_path"], "init_args": plain}
        if printed:
            print(yaml.safe_dump(config_of(options.as_dict(), self.choices), sort_keys=False), end="")
            self.exit(0)
        return options

    def _chosen(self, chosen: Any, rest: list[str], trusted: bool) -> tuple[dict[str, dict], list[str]]:
        """Choose the part for every role and add its options; options from files come back as command-line words."""
        names = {role: getattr(chosen, role) for role in self.choices}
        peeked = _Peek([], runs=True).parse_known_args(rest)[0]
        own = {name for name in names.values() if name and find_part(name) is None and "." in name}
        own |= {peeked.dataset} if peeked.dataset and names_function(peeked.dataset) else set()
        self.allowed = [*peeked.allow_import, *(sorted(own) if trusted else [])]
        for name in own:
            check_may_import(name, self.allowed)
        look_here_too(self.allowed)
        for role, choice in self.choices.items():
            name = getattr(chosen, f"{role}.help")
            if name == "":
                self._print_names(choice)
            if name:
                look_here_too([name])
                self._print_part_help(role, choice.constructor(name))
        parts: dict[str, dict[str, Any]] = {}
        words: list[str] = []
        for file in [*self._resumed(peeked), *(str(packaged(name)) for name in chosen.config or [])]:
            known = {action.dest for action in self._actions}
            configuration = Configuration(file, known, self.choices, self.allowed)
            parts |= configuration.parts
            words += [word for name, value in configuration.plain.items() for word in self._typed(file, name, value)]
        asked = _Peek([], runs=True).parse_known_args([*words, *rest])[0]
        kind = "images"
        if any(choice.for_vectors and not names[role] and role not in parts for role, choice in self.choices.items()):
            kind = kind_named(asked.dataset, asked.layout, self.allowed)
        for role, choice in self.choices.items():
            part = parts.get(role, {"class_path": choice.usual(kind)})
            constructor = choice.constructor(names[role] or part["class_path"])
            if constructor is import_object(part["class_path"]):  # a file's options are for the part it names
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
            raise ValueError(f"{file} must set {name} to true or false; got {value!r}")
        return [f"--{name}"] if value else []

    @staticmethod
    def _add_options(parser: Any, choice: Choice, constructor: Callable[..., Any]) -> None:
        """Add the options of a part, in a group that lists the alternatives."""
        group = parser.add_argument_group(
            f"--{choice.role} NAME: {choice.help}",
            f"{', '.join(choice.names)}, or the import path of your own; chosen: {constructor.__name__}",
        )
        parameters = inspect.signature(constructor).parameters
        help_of = documented(constructor)
        for name, hint in options_of(constructor).items():
            default = parameters[name].default
            needed = default is inspect.Parameter.empty
            given = is_given(name, f"{constructor.__module__}.{constructor.__name__}")
            if given or not is_plain(hint):
                if needed and not given:
                    raise ValueError(
                        f"{constructor.__name__} needs {name}, which no option can give: annotate it as int, float, "
                        "bool, str or a list of these, or give it a default"
                    )
                continue
            group.add_argument(
                f"--{choice.role}.{name}",
                type=hint,
                help=help_of.get(name, f"of {constructor.__name__}"),
                **_metavar(hint),
                **({"required": True} if needed else {"default": default}),
            )

    def _print_names(self, choice: Choice) -> None:
        print(f"--{choice.role}.help NAME lists the options of one part: {choice.help}. NAME may be")
        print(*(f"  {name}" for name in choice.names), "or the import path of your own.", sep="\n")
        self.exit(0)

    def _print_part_help(self, role: str, constructor: Callable[..., Any]) -> None:
        prog = f"--{role} {constructor.__name__}"
        parser = jsonargparse.ArgumentParser(prog=prog, add_help=False, formatter_class=Formatter)
        self._add_options(parser, self.choices[role], constructor)
        parser.print_help()
        self.exit(0)

    def exit(self, status: int = 0, message: str | None = None) -> Any:
        if not self.own_command:
            raise ValueError(message or "help is available on the command line only")
        super().exit(status, message)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if not self.exit_on_error:  # a nested parser: the outer one reports
            super().error(message, ex)
        if not self.own_command:
            raise ValueError(one_line(self._plainly(message)))
        self.exit(2, f"{self.prog}: error: {one_line(self._plainly(message))}\n")

    def _plainly(self, message: str) -> str:
        """An error in plain words, with a suggestion for an option that there is not."""
        options = {word for action in self._actions for word in action.option_strings} | {
            f"--{r}" for r in self.choices
        }
        unknown = re.findall(r"--[\w.]+", message) if message.startswith("unrecognized arguments: ") else []
        near = [close[0] for word in unknown if (close := difflib.get_close_matches(word, options, n=1))]
        return f"{plainly(message)}{f'; did you mean {near[0]}?' if near else ''}"


def documented(constructor: Callable[..., Any]) -> dict[str, str]:
    """The description of each argument in the docstrings of a class and its ancestors, without markup."""
    found: dict[str, str] = {}
    for home in reversed(getattr(constructor, "__mro__", [constructor])):
        for parameter in docstring_parser.parse(home.__doc__ or "").params:
            found[parameter.arg_name] = unmarked(parameter.description or "")
    return found


def made(options: type[Options], given: jsonargparse.Namespace) -> Options:
    """Options from what was parsed."""
    return options(**{entry.name: given[entry.name] for _, own in homes(options) for entry in own})


def _how_typed(entry: Field, hint: Any, flag: bool) -> dict[str, Any]:
    """The form of an option on the command line: a flag, a choice, several words or one."""
    default = {"required": True} if entry.default is MISSING else {"default": entry.default}
    if flag:
        return {"action": "store_true"}
    several = [inner for inner in (hint, *get_args(hint)) if get_origin(inner) is Sequence]
    if several:
        (of,) = get_args(several[0])
        return {"nargs": "+", "type": of, **_metavar(of), **default}
    names = entry.metadata.get("choices") or (get_args(hint) if get_origin(hint) is Literal else None)
    return {"choices": list(names), **default} if names else {"type": hint, **_metavar(hint), **default}


def _metavar(hint: Any) -> dict[str, str]:
    """N for a whole number and X for any other; the library names everything else."""
    kinds = {*get_args(hint)} - {type(None)} if isinstance(hint, UnionType) else {hint}
    named = [letter for kind, letter in ((int, "N"), (float, "X")) if kinds == {kind}]
    return {"metavar": named[0]} if named else {}


class _Peek(argparse.ArgumentParser):
    """Reads which parts and files are chosen, or with ``runs`` which run and data, and ignores the rest."""

    def __init__(self, roles: Sequence[str] | dict[str, Choice], runs: bool = False) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        if runs:
            self.add_argument("--resume", action="store_true")
            self.add_argument("--out")
            self.add_argument("--allow_import", nargs="+", default=[])
            self.add_argument("--dataset")
            self.add_argument("--layout")
        elif roles:
            self.add_argument("--config", action="append")
            self.add_argument("--print_config", action="store_true")
        for role in roles:
            self.add_argument(f"--{role}")
            self.add_argument(f"--{role}.help", nargs="?", const="")

    def error(self, message: str) -> Any:
        raise ValueError(message)


def without_replaced(argv: Sequence[str], roles: Iterable[str]) -> list[str]:
    """A command line without the options of parts that a later name replaces, as rows of a table do."""
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
