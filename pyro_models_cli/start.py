"""Where every command starts, before anything slow is imported.

Ctrl-C while libraries are still being imported ends a command with one line, as it does later.  An
exception would not do: libraries catch it.
"""

import difflib
import os
import signal
import sys
from importlib import import_module

from pyro_models_cli.streams import open_missing

COMMANDS = {
    "train-vae": "train a variational autoencoder",
    "train-realnvp": "train a RealNVP flow on images or vectors",
    "evaluate": "estimate bounds on the log-likelihood of test data",
    "sample": "draw images or vectors from a trained model",
    "report": "gather trained runs into one HTML page",
    "explore": "make a web page to play with trained models",
    "diagnose": "report what a trained run has learned",
    "inpaint": "complete images with a trained flow",
    "push": "share a trained run on the Hugging Face Hub",
    "collapse-study": "study when a VAE ignores its code, and what helps",
    "zoo": "train and compare the VAEs of a list",
    "demo": "train, evaluate and report on digits, in a minute",
}
HELP = "\n".join(
    [
        "usage: pyro-models COMMAND [--option VALUE ...]\n",
        "Train, evaluate and inspect deep generative models.\n",
        *(f"  {name:15s} {what}" for name, what in COMMANDS.items()),
        "\npyro-models COMMAND --help lists the options of a command; pyro-models --version shows the version.",
    ]
)


def run(command: str) -> None:
    """Run one command with the options of this process's command line."""
    sys.path[:] = filter(os.path.isabs, sys.path)  # nothing is imported from the current folder
    open_missing()
    signal.signal(signal.SIGINT, _end_at_once)
    name = command.replace("-", "_")
    from pyro_models_cli.main import main

    main(import_module(f"pyro_models_cli.commands.{name}").command)


def pyro_models() -> None:
    """The installed program: ``pyro-models COMMAND --option ...``."""
    command, *options = sys.argv[1:] or [""]
    if command in ("-h", "--help"):
        print(HELP)
    elif command == "--version":
        from importlib.metadata import version  # slow to import

        print(f"pyro-models {version('pyro-models')}")
    elif command in COMMANDS:
        sys.argv = [f"pyro-models {command}", *options]
        run(command)
    else:
        wrong = f"there is no command {command!a}" if command else "a command is missing"
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        print(f"pyro-models: error: {wrong}: {hint}expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)


def end_with_exceptions() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, as it usually does in Python."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once(*_: object) -> None:
    print(f"{os.path.basename(sys.argv[0])}: error: interrupted", file=sys.stderr, flush=True)
    os._exit(130)  # half imported libraries cannot shut down
