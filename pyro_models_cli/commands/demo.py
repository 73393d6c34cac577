"""The whole job on scikit-learn's digits, in about a minute: train, evaluate, report."""

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path("demo")
VAE, REALNVP = FOLDER / "vae", FOLDER / "realnvp"
COMMANDS = [
    f"train_vae.py --dataset digits --latent_dim 16 --batch_size 50 --epochs 80 --out {VAE} --overwrite",
    f"evaluate.py {VAE} --repeats 10",
    f"train_realnvp.py --dataset digits --flow.hidden [256,256] --batch_size 50 --epochs 50"
    f" --out {REALNVP} --overwrite",
    f"evaluate.py {REALNVP}",
    f"report.py {VAE} {REALNVP} --out {FOLDER}",
]


def command() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    scripts = Path(__file__).parent
    for command in COMMANDS:
        print(f"\n$ python scripts/{command}", flush=True)
        code = subprocess.call([sys.executable, str(scripts / command.split()[0]), *command.split()[1:]])
        if code:
            sys.exit(code)
    print(f"\nOpen the report: {(FOLDER / 'report.html').resolve()}")
