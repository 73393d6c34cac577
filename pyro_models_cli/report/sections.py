"""What every section of a report needs: figures, tables and sentences about a run."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure as Plot
from torch import nn

from inference import Pair, Run
from inference.figures.style import save
from pyro_models_cli.report.run_data import RunData

SAMPLES = 16
STEPS = 10


@dataclass
class Figure:
    name: str
    figure: Plot
    caption: str
    kind: ClassVar[str] = "figure"

    def render(self, number: int, folder: Path) -> dict[str, Any]:
        """What the template needs; also saves the picture in the folder."""
        path = save(self.figure, folder / f"figure_{number:02d}_{self.name}.png")
        data = base64.b64encode(path.read_bytes()).decode()
        return {"kind": self.kind, "number": number, "caption": self.caption, "data": data}


@dataclass
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    kind: ClassVar[str] = "table"

    def render(self, number: int, folder: Path) -> dict[str, Any]:
        """What the template needs."""
        return {"kind": self.kind, "number": number, **asdict(self)}


@dataclass
class Section:
    title: str
    summary: str
    blocks: list[Figure | Table]
    assumptions: list[str]


@singledispatch
def section(model: nn.Module, pair: Pair, run: Run, data: RunData) -> Section:
    """The section of a report on one run, by the type of its model; any_section.py has that of any other type."""
    from pyro_models_cli.report.any_section import any_section

    return any_section(pair, run, data)


def bounds(run: Run, pair: Pair, data: RunData) -> list[Figure | Table]:
    """The table of importance-weighted bounds, if these weights have been evaluated."""
    record = run.evaluation()
    if record is None or record.get("epochs") != pair.epoch:
        return []
    if record.get("exact"):
        row = ["negative log p(x)", *numbers(record["negative_elbo"], 3)[::2]]
        count = f"{record['num_test_images']:,} test {data.noun}s"
        caption = f"Negative log-likelihood of {count}, exact, with its standard error over {data.noun}s."
        return [Table(["", f"nats per {data.noun}", f"± {data.noun}s"], [row], caption)]
    entries = {"negative ELBO (m = 1)": record["negative_elbo"]}
    entries |= {f"negative IWAE, m = {m}": entry for m, entry in record["negative_iwae"].items() if m != "1"}
    header = ["bound", f"nats per {data.noun}", "± repeats", f"± {data.noun}s"]
    rows = [[name, *numbers(entry, 3)] for name, entry in entries.items()]
    if "bits_per_dim" in record:
        header = [*header, "bits per dimension", "± repeats"]
        in_bits = [record["bits_per_dim"][m] for m in ("1", *(m for m in record["negative_iwae"] if m != "1"))]
        rows = [[*row, *numbers(entry, 4)[:2]] for row, entry in zip(rows, in_bits, strict=True)]
    given = ", given the label" if pair.config.get("conditional") else ""
    how = f", {pixels(record['binarisation'])}" if record["binarisation"] else ""
    things = f"{data.noun}s"
    caption = (
        f"Negative importance-weighted bounds on {record['num_test_images']:,} test {things}{how}{given}: means of "
        f"{record['repeats']} repeats, with standard errors over repeats (new draws on the same {things}) and over "
        f"{things}. The rows share their draws and {things}, so the differences between them are far better determined "
        "than the errors of each suggest."
    )
    return [Table(header, rows, caption)]


def cut(run: Run) -> str:
    """A sentence on the vertical axis of curves, if it is cut."""
    long = len(run.metrics()) >= 20
    return " The vertical axis is cut to the values after the first epochs." if long else ""


def numbers(entry: dict[str, Any], digits: int) -> tuple[str, str, str]:
    values = entry["value"], entry["standard_error"], entry["standard_error_over_images"]
    return tuple("-" if value is None else f"{value:.{digits}f}" for value in values)  # type: ignore[return-value]


def last_batch(data: RunData, pair: Pair) -> str:
    """How many observations the last batch of an epoch holds, in words."""
    held_out, size = pair.config.get("num_validation") or 0, pair.config["batch_size"]
    trained = f"{(len(data.train) - held_out) % size or size} training"
    tested = "" if data.test is None else f" and {len(data.test) % size or size} test"
    return f"{trained}{tested} {data.noun}s"


def trained(run: Run, pair: Pair) -> str:
    config = pair.config
    objective = config["objective"]["class_path"].rpartition(".")[2]
    return (
        f"trained with {objective} and Adam (batches of {config['batch_size']}, largest learning rate "
        f"{config['lr']:g}, schedule {config['schedule']}) for {pair.epoch} epochs in {run.minutes:.1f} minutes; "
        f"seed {config['seed']}"
    )


def pixels(how: str) -> str:
    return "integer pixels" if how == "none" else f"{how} binarisation"


def binarisation(how: str) -> list[str]:
    said = {
        "dynamic": "Grey pixels are binarised dynamically: a fresh Bernoulli draw whenever an image is seen, in "
        "training and in testing.",
        "static": "Grey pixels are binarised statically: one Bernoulli draw a pixel, from a fixed seed.",
        "threshold": "Grey pixels are binarised by a threshold at half the full intensity.",
    }
    return [said[how]] if how in said else []


def measured(run: Run, data: RunData) -> list[str]:
    config, things = run.config, f"{data.noun}s"
    train = (
        f"Training curves are measured in a second pass over the training {things} after each epoch."
        if config.get("full_train_pass")
        else "Training curves are averages over the epoch's own steps, while the weights move; test curves are "
        "measured after the epoch."
    )
    chosen = (
        f"The weights are those of the best epoch on {config['num_validation']} held-out training {things}."
        if config.get("num_validation")
        else "The weights are those of the last epoch"
        + ("." if data.test is None else f"; nothing was chosen by the test {things}.")
    )
    return [*data.remarks(), train, chosen]
