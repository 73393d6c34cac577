"""What --help says of every command and every part: whole, plain, and of this command alone."""

import re
import sys
from dataclasses import fields
from importlib import import_module

import pytest

from pyro_models_cli.start import COMMANDS, pyro_models

MODULES = {name: import_module(f"pyro_models_cli.commands.{name.replace('-', '_')}") for name in COMMANDS}
TRAINING = ("train-vae", "train-realnvp")


def options_of(command: str) -> type | None:
    """The class of a command's options; the demo has none."""
    name = f"{command.replace('-', '')}options"
    found = [value for key, value in vars(MODULES[command]).items() if key.lower() == name]
    return found[0] if found else None


PARTS = [
    (command, choice.role, part)
    for command in TRAINING
    for choice in options_of(command).choices
    for part in choice.names
]


@pytest.fixture
def help_of(monkeypatch, capsys):
    """What a command prints when it is asked for help."""

    def printed(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["pyro-models", *words])
        monkeypatch.setenv("COLUMNS", "110")
        with pytest.raises(SystemExit) as stop:
            pyro_models()
        assert not stop.value.code
        return capsys.readouterr().out

    return printed


def entries(text: str) -> dict[str, str]:
    """The options in a help text, each with what is said of it."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if start := re.match(r"  (?:-h, )?(--[\w.]+)(.*)", line):
            name, rest = start.groups()
            found[name] = rest
        elif found and line.startswith(" " * 10):
            found[name] += f" {line.strip()}"
    return found


def check(text: str) -> None:
    for markup in (
        "`",
        ":class:",
        ":func:",
        ":math:",
        ":meth:",
        "<class",
        "Literal[",
        "default: null",
        "None",
        "~",
        "\\",
    ):
        assert markup not in text
    for name, said in entries(text).items():
        if name == "--help":
            continue
        described = re.sub(r"^( --\S+|,| [A-Z_]+| \[\S+( \.\.\.\])?| \{\S+\})+", "", said).strip()
        assert re.match(r"[\w\"]", described), f"{name} is not described: {said}"
        assert "(required)" in said or "default" in said, f"{name} does not say its default"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_plain_and_whole(help_of, command):
    text = help_of(command, "--help")
    check(text)
    assert f"usage: pyro-models {command}" in text
    shown = {name.removeprefix("--") for name in entries(text) if "." not in name} - {"help"}
    own = options_of(command)
    expected = {entry.name for entry in fields(own)} if own else set()
    if command in TRAINING:
        roles = {choice.role for choice in own.choices}
        assert {role for role in roles if f"--{role} NAME" in text} == roles
        expected = expected - roles | {"config", "print_config"}
    assert shown == expected


@pytest.mark.parametrize(("command", "role", "part"), PARTS, ids=lambda value: str(value))
def test_help_of_a_part_is_plain_and_whole(help_of, command, role, part):
    check(help_of(command, f"--{role}.help", part))


@pytest.mark.parametrize("command", COMMANDS)
def test_symbols_in_a_help_text_are_explained(help_of, command):
    text = " ".join(help_of(command, "--help").split())
    for symbol, meaning in {
        "KL": "divergence",
        "ELBO": "evidence lower bound",
        "p(x": "images( or vectors)? x|x are integer pixels",
        "q(z|x)": "guide q",
        "IWAE": "importance samples",
        "NLL": "negative log-likelihood",
        "--m ": "importance samples",
    }.items():
        if re.search(rf"(?<!\w){re.escape(symbol)}", text):
            assert re.search(meaning, text), f"{symbol} is not explained"


@pytest.mark.parametrize("command", TRAINING)
def test_help_of_a_part_without_a_name_lists_the_names(help_of, command):
    for choice in options_of(command).choices:
        listed = {line.strip() for line in help_of(command, f"--{choice.role}.help").splitlines()}
        assert listed >= set(choice.names)
