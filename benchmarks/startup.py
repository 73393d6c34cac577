"""Start-up times: imports, and --help of a command."""

import subprocess
import sys
from pathlib import Path

from timing import Group, side_by_side

SCRIPT = str(Path(__file__).parents[1] / "scripts" / "train_vae.py")


def python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def measure(seconds: float) -> list[Group]:
    programs = {
        "import torch": lambda: python("-c", "import torch"),
        "import pyro": lambda: python("-c", "import pyro"),
        "import pyro_models, inference": lambda: python("-c", "import pyro_models, inference"),
        "train_vae.py --help": lambda: python(SCRIPT, "--help"),
    }
    group = Group("start-up", side_by_side(programs, seconds, warm_up=1))
    return [group.compare("train_vae.py --help", "import pyro")]
