"""The environment that a run or a result came from."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from inference.system.processes import rank_and_size

_PACKAGES = ("torch", "torchvision", "pyro-ppl", "numpy", "scikit-learn")


def describe_environment(command: str | None = None) -> dict[str, Any]:
    """Command (by default that of this process), time, commit, machine and versions."""
    return {
        "command": command or " ".join(["python", *sys.argv]).encode(errors="backslashreplace").decode(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processes": rank_and_size()[1],
        "machine": f"{platform.machine()}, {threads_in_words(torch.get_num_threads())}, {_accelerator()}",
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def threads_in_words(count: int) -> str:
    """1 CPU thread, 2 CPU threads."""
    return f"{count} CPU thread{'' if count == 1 else 's'}"


def _accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """That of the checkout with this file; an installed copy has none, even inside another project's repository."""
    tracked = _git("ls-files", Path(__file__).name)
    return _git("describe", "--always", "--dirty", "--abbrev=12") if tracked else None


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None
