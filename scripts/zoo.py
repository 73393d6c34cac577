"""Train, evaluate and diagnose one VAE for every row of a list, and write the table; rows already made are skipped."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from _cli import Parser, main

from inference import Run

SCRIPTS = Path(sys.argv[0]).parent  # as typed, for the record
COMMON = "--encoder.hidden [300,300] --decoder.hidden [300,300] --epochs 60"
ROWS = Path(__file__).parent / "configs" / "zoo.yaml"


def zoo() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--list", type=str, default=str(ROWS), help="YAML file of rows: a name, options of train_vae.py"
    )
    parser.add_argument("--rows", type=str, nargs="+", default=None, help="only these rows")
    parser.add_argument("--out", type=str, default="runs/zoo", help="folder of the runs, one a row")
    parser.add_argument("--result", type=str | None, default=None, help="file for the table of all rows made so far")
    parser.add_argument("--common", type=str, default=COMMON, help="options of train_vae.py before each row's own")
    parser.add_argument("--data_root", type=str | None, default=None, help="folder of the data sets")
    parser.add_argument("--num_samples", type=int, default=5000, help="of the estimate of the log-likelihood")
    options = parser.parse()

    rows = read_rows(Path(options.list))
    chosen = options.rows or list(rows)
    unknown = sorted(set(chosen) - rows.keys())
    if unknown:
        raise ValueError(f"unknown rows {', '.join(unknown)}: expected some of {', '.join(rows)}")
    root = [] if options.data_root is None else ["--data_root", options.data_root]
    for name in chosen:
        make_row(Path(options.out) / name, f"{options.common} {rows[name]}", root, options.num_samples)
    made = [name for name in rows if is_made(Path(options.out) / name, options.num_samples)]
    table = [{"name": name, **row_of(Path(options.out) / name, options.num_samples)} for name in made]
    print_table(table, options.num_samples)
    if options.result is not None:
        Path(options.result).parent.mkdir(parents=True, exist_ok=True)
        Path(options.result).write_text(json.dumps(table, indent=2) + "\n")


def read_rows(file: Path) -> dict[str, str]:
    try:
        rows = yaml.safe_load(file.read_text())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} is not a YAML file: {error}") from error
    if not isinstance(rows, dict) or not all(isinstance(part, str) for row in rows.items() for part in row):
        raise ValueError(f"{file} must map names of rows to options of train_vae.py, each in one line")
    return rows


def make_row(path: Path, options: str, root: list[str], num_samples: int) -> None:
    """Train unless that is done, evaluate, diagnose."""
    if is_made(path, num_samples):
        print(f"{path.name}: made already", flush=True)
        return
    print(f"{path.name}: {options}", flush=True)
    started = (path / "checkpoints" / "last.safetensors").exists()
    run("train_vae.py", *shlex.split(options), "--out", str(path), *root, *(["--resume"] if started else []))
    run("diagnose.py", str(path), *root, "--num_samples", str(num_samples))
    run("evaluate.py", str(path), *root, "--m", str(num_samples), "--repeats", "1")


def run(script: str, *arguments: str) -> None:
    if subprocess.run([sys.executable, str(SCRIPTS / script), *arguments], check=False).returncode:
        raise RuntimeError(f"{script} {shlex.join(arguments)} failed; the rows that are made are kept")


def is_made(path: Path, num_samples: int) -> bool:
    done = (path / "diagnosis.json").is_file() and (path / "evaluation.json").is_file()
    return done and str(num_samples) in (Run.open(path).evaluation() or {}).get("negative_iwae", {})


def row_of(path: Path, num_samples: int) -> dict[str, Any]:
    """One row of the table, from the files of its run."""
    run = Run.open(path)
    evaluation = run.evaluation() or {}
    diagnosis = json.loads((path / "diagnosis.json").read_text())
    latents = diagnosis["latents"]
    return {
        **{part: class_of(run.config[part]) for part in ("model", "prior", "guide", "decoder", "objective")},
        "layers": len(latents),
        "negative_elbo": evaluation["negative_elbo"],
        f"nll_{num_samples}": evaluation["negative_iwae"][str(num_samples)],
        "active_units": {latent["name"]: latent["active"] for latent in latents},
        "latent_dims": {latent["name"]: len(latent["variance_of_means"]) for latent in latents},
        "pareto_k": diagnosis["pareto_k"],
        "test_minus_train": run.metrics()[-1]["test_negative_elbo"] - run.metrics()[-1]["train_negative_elbo"],
        **{key: evaluation[key] for key in ("epochs", "minutes", "evaluation_minutes", "seed", "binarisation")},
        **{key: evaluation[key] for key in ("dataset", "num_test_images", "units", "machine", "command", "commit")},
    }


def class_of(description: dict[str, Any]) -> str:
    return description["class_path"].rpartition(".")[2]


def print_table(table: list[dict[str, Any]], num_samples: int) -> None:
    print(f"{'row':20s} {'-ELBO':>9s} {f'NLL {num_samples}':>9s} {'active':>9s} {'minutes':>8s}")
    for row in table:
        active = " + ".join(f"{used}/{row['latent_dims'][name]}" for name, used in row["active_units"].items())
        values = f"{row['negative_elbo']['value']:9.3f} {row[f'nll_{num_samples}']['value']:9.3f}"
        print(f"{row['name']:20s} {values} {active:>9s} {row['minutes']:8.1f}")


if __name__ == "__main__":
    main(zoo)
