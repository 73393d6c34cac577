"""Where every command starts, before anything slow is imported.

Ctrl-C while libraries are still being imported ends a command with one line, as it does later.  An
exception would not do: libraries catch it.
"""

import os
import signal
import sys
from importlib import import_module

from pyro_models_cli.streams import open_missing

COMMANDS = (
    *("train-vae", "train-realnvp", "evaluate", "sample", "report", "diagnose"),
    *("inpaint", "collapse-study", "zoo", "demo"),
)


def run(command: str) -> None:
    """Run one command with the options of this process's command line."""
    open_missing()
    signal.signal(signal.SIGINT, _end_at_once)
    name = command.replace("-", "_")
    from pyro_models_cli.main import main

    main(import_module(f"pyro_models_cli.commands.{name}").command)


def pyro_models() -> None:
    """The installed program: ``pyro-models COMMAND --option ...``."""
    import argparse
    from importlib.metadata import version

    parser = argparse.ArgumentParser(
        prog="pyro-models",
        description="Train, evaluate and inspect deep generative models; pyro-models COMMAND --help lists its options.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pyro-models {version('pyro-models')}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("options", nargs=argparse.REMAINDER, help="of the command")
    given = parser.parse_args()
    sys.argv = [f"pyro-models {given.command}", *given.options]
    run(given.command)


def end_with_exceptions() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, as it usually does in Python."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once(*_: object) -> None:
    print(f"{os.path.basename(sys.argv[0])}: error: interrupted", file=sys.stderr, flush=True)
    os._exit(130)  # half imported libraries cannot shut down
