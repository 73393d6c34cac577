"""What every section of a report needs: figures, tables and sentences about a run."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure as Plot
from torch import nn

from inference import Pair, Run
from inference.figures.style import save, written
from pyro_models_cli.course import chapter_on
from pyro_models_cli.report.run_data import RunData

SAMPLES = 16
STEPS = 10
PIXELS_AN_INCH = 96  # of a page, whatever the screen
# by the first word of the name of a figure or table
_CHAPTERS = {
    "curves": "02_vae",
    "vae": "02_vae",
    "samples": "02_vae",
    "reconstructions": "02_vae",
    "bounds": "04_importance_weights",
    "latent": "06_swapping_parts",
    "density": "08_change_of_variables",
    "realnvp": "09_integer_pixels",
    "diagnosis": "10_trust_your_numbers",
    "marginals": "10_trust_your_numbers",
    "pairs": "10_trust_your_numbers",
}


@dataclass
class Figure:
    """A figure, shown in its own size: an inch is 96 pixels of the page."""

    name: str
    figure: Plot
    caption: str
    kind: ClassVar[str] = "figure"

    def render(self, number: int, page: Path) -> dict[str, Any]:
        """What the template needs; also saves the picture beside the page."""
        path = save(self.figure, page.parent / f"figure_{number:02d}_{self.name}.png")
        width, height = (round(PIXELS_AN_INCH * inches) for inches in self.figure.get_size_inches())
        picture = {"data": base64.b64encode(path.read_bytes()).decode(), "width": width, "height": height}
        has_type = bool(written(self.figure))
        return {**_shared(self, number, page), **picture, "has_type": has_type}


@dataclass
class Table:
    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    kind: ClassVar[str] = "table"

    def render(self, number: int, page: Path) -> dict[str, Any]:
        """What the template needs."""
        return {**_shared(self, number, page), "header": self.header, "rows": self.rows}


def _shared(block: Figure | Table, number: int, page: Path) -> dict[str, Any]:
    chapter = chapter_on(_CHAPTERS[block.name.split("_")[0]], page)
    return {"kind": block.kind, "number": number, "caption": block.caption, "chapter": chapter}


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


def cut(run: Run) -> str:
    """A sentence on the vertical axis of curves, if it is cut."""
    long = len(run.metrics()) >= 20
    return " The vertical axis is cut to the values after the first epochs." if long else ""


def last_batch(data: RunData, pair: Pair) -> str:
    """How many observations the last batch of an epoch holds, in words."""
    held_out, size = pair.config.get("num_validation") or 0, pair.config["batch_size"]
    trained = f"{(len(data.train) - held_out) % size or size} training"
    tested = "" if data.test is None else f" and {len(data.test) % size or size} test"
    return f"{trained}{tested} {data.noun}s"


def trained(run: Run, pair: Pair) -> str:
    config = pair.config
    objective = config["objective"]["class_path"].rpartition(".")[2]
    epochs = f"{pair.epoch} epoch{'' if pair.epoch == 1 else 's'}"
    return (
        f"trained with {objective} and Adam (batches of {config['batch_size']}, largest learning rate "
        f"{config['lr']:g}, schedule {config['schedule']}) for {epochs} in {run.minutes:.1f} minutes; "
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
