"""Start-up times: imports, --help, and one epoch on scikit-learn's digits."""

import subprocess
import sys
import tempfile
from pathlib import Path

from timing import Group, side_by_side

SCRIPT = str(Path(__file__).parents[1] / "scripts" / "train_vae.py")


def measure(seconds: float) -> list[Group]:
    def python(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as folder:
        run = ("--dataset", "digits", "--epochs", "1", "--overwrite", "--out", f"{folder}/run")
        programs = {
            "import torch": lambda: python("-c", "import torch"),
            "import pyro": lambda: python("-c", "import pyro"),
            "import pyro_models, inference": lambda: python("-c", "import pyro_models, inference"),
            "train_vae.py --help": lambda: python(SCRIPT, "--help"),
            "train_vae.py, one epoch on digits": lambda: python(SCRIPT, *run),
        }
        group = Group("start-up", side_by_side(programs, seconds, warm_up=1))
    return [group.compare("train_vae.py --help", "import pyro")]
