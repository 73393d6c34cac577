"""What every section of a report needs: figures, tables and sentences about a run."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure as Plot
from torch import nn

from inference import Images, Pair, Run
from inference.figures.style import save

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
def section(model: nn.Module, pair: Pair, run: Run, train: Images, test: Images) -> Section:
    """The section of a report on one run, by the type of its model."""
    raise TypeError(f"no section of a report is registered for a {type(model).__name__}")


def bounds(run: Run, pair: Pair) -> list[Figure | Table]:
    """The table of importance-weighted bounds, if these weights have been evaluated."""
    record = run.evaluation()
    if record is None or record.get("epochs") != pair.epoch:
        return []
    entries = {"negative ELBO (m = 1)": record["negative_elbo"]}
    entries |= {f"negative IWAE, m = {m}": entry for m, entry in record["negative_iwae"].items() if m != "1"}
    header = ["bound", "nats per image", "± repeats", "± images"]
    rows = [[name, *numbers(entry, 3)] for name, entry in entries.items()]
    if "bits_per_dim" in record:
        header = [*header, "bits per dimension", "± repeats"]
        in_bits = [record["bits_per_dim"][m] for m in ("1", *(m for m in record["negative_iwae"] if m != "1"))]
        rows = [[*row, *numbers(entry, 4)[:2]] for row, entry in zip(rows, in_bits, strict=True)]
    given = ", given the label" if pair.config.get("conditional") else ""
    pixels = "integer pixels" if record["binarisation"] == "none" else f"{record['binarisation']} binarisation"
    caption = (
        f"Negative importance-weighted bounds on {record['num_test_images']:,} test images, {pixels}{given}: means of "
        f"{record['repeats']} repeats, with standard errors over repeats (new draws on the same images) and over "
        "images. The rows share their draws and images, so the differences between them are far better determined "
        "than the errors of each suggest."
    )
    return [Table(header, rows, caption)]


def numbers(entry: dict[str, Any], digits: int) -> tuple[str, str, str]:
    values = entry["value"], entry["standard_error"], entry["standard_error_over_images"]
    return tuple("-" if value is None else f"{value:.{digits}f}" for value in values)  # type: ignore[return-value]


def last_batch(images: Images, pair: Pair) -> int:
    held_out = pair.config.get("num_validation") or 0
    count = len(images) - (held_out if "train" in images.name else 0)
    return count % pair.config["batch_size"] or pair.config["batch_size"]


def dims(images: Images) -> str:
    return "x".join(map(str, images.image_shape))


def sizes(train: Images, test: Images) -> str:
    return f"{len(train):,} training and {len(test):,} test images of {dims(test)}"


def trained(run: Run, pair: Pair) -> str:
    config = pair.config
    objective = config["objective"]["class_path"].rpartition(".")[2]
    return (
        f"trained with {objective} and Adam (batches of {config['batch_size']}, largest learning rate "
        f"{config['lr']:g}, schedule {config['schedule']}) for {pair.epoch} epochs in {run.minutes:.1f} minutes; "
        f"seed {config['seed']}"
    )


def binarisation(how: str) -> list[str]:
    said = {
        "dynamic": "Grey pixels are binarised dynamically: a fresh Bernoulli draw whenever an image is seen, in "
        "training and in testing.",
        "static": "Grey pixels are binarised statically: one Bernoulli draw a pixel, from a fixed seed.",
        "threshold": "Grey pixels are binarised by a threshold at half the full intensity.",
    }
    return [said[how]] if how in said else []


def measured(run: Run) -> list[str]:
    config = run.config
    train = (
        "Training curves are measured in a second pass over the training images after each epoch."
        if config.get("full_train_pass")
        else "Training curves are averages over the epoch's own steps, while the weights move; test curves are "
        "measured after the epoch."
    )
    chosen = (
        f"The weights are those of the best epoch on {config['num_validation']} held-out training images."
        if config.get("num_validation")
        else "The weights are those of the last epoch; nothing was chosen by the test images."
    )
    return [train, chosen]
