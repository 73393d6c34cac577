"""What a report on a run has to leave out, and the command that makes it."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from inference import Pair, Run
from inference.runs.hub import is_fetched
from pyro_models_cli.report.blocks import latents_of
from pyro_models_cli.report.run_data import RunData


@dataclass(frozen=True)
class LeftOut:
    """Something that is not in a report: why, in a sentence, and the command after which it would be."""

    why: str
    command: str


def left_out(run: Run, pair: Pair, data: RunData) -> list[LeftOut]:
    """What is not in the report on a run, in the order in which the report would show it."""
    missing = []
    if data.test is None:
        why = "No bounds and no diagnosis: they are measured on test data, and this run has none."
        missing.append(LeftOut(why, _train_again(run, "--test_fraction 0.1", "tested")))
    else:
        records = [("evaluation", "evaluate", run.evaluation())]
        if latents_of(pair, data):
            records.append(("diagnosis", "diagnose", run.diagnosis()))
        for what, command, record in records:
            if record is None:
                missing.append(LeftOut(f"No {what} yet.", _on(run, command)))
            elif record.get("epochs") != pair.epoch:
                why = f"The {what} in the run's folder is not of these weights, those of epoch {pair.epoch:g}."
                missing.append(LeftOut(why, _on(run, command)))
    if getattr(data.train, "labels", None) is None:
        if str(run.config["dataset"]).endswith(".csv"):
            why = "No labels: no column of the file was named as theirs."
            missing.append(LeftOut(why, _train_again(run, "--label_column NAME", "labelled")))
    elif not data.train.conditional:
        why = "Nothing is shown label by label: the programs do not see the labels that the data have."
        missing.append(LeftOut(why, _train_again(run, "--conditional", "conditional")))
    return missing


def _on(run: Run, command: str) -> str:
    return f"pyro-models {command} {shlex.quote(str(run.path))}"


def _train_again(run: Run, change: str, name: str) -> str:
    """The command that trains with one option changed, into a folder beside the run's, or not in the Hub's cache."""
    place = Path("runs", run.path.parent.name) if is_fetched(run.path) else run.path
    command = "train-realnvp" if "flow" in run.config else "train-vae"
    config, out = (shlex.quote(str(path)) for path in (run.path / "config.yaml", f"{place}_{name}"))
    return f"pyro-models {command} --config {config} {change} --out {out}"
