"""Draw from a trained model and save a figure: images in a grid, or vectors beside the data."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from inference import DataSet, Pair, Run
from inference.runs.hub import place_of
from inference.system.files import try_writing, write_whole
from inference.system.progress import Bar
from pyro_models_cli.data import data_again
from pyro_models_cli.options import RunOptions
from pyro_models_cli.trained import load_pair, parse_run, picture_file

TABLES = (".npy", ".csv")


@dataclass(frozen=True, kw_only=True)
class SampleOptions(RunOptions):
    """Options of the draws.

    Args:
        num_samples: number of draws, of each class if the model is conditional; by default 16 images or 1,000 vectors.
        seed: seed of the draws.
        out: PNG file; by default figures/samples.png in the run's folder.  For vectors also a new .npy or .csv file,
            to which they are written in the units of the data, class by class, beside the usual figure; a .csv file
            has the column names of the data and, if the model is conditional, the labels, by the names of the classes.
    """

    num_samples: int | None = None
    seed: int = 0
    out: str | None = None


def sample(run: Path | str, options: SampleOptions | None = None) -> Path:
    """Draw from a run's model; returns the path of the picture.

    Raises:
        ValueError: if an option is out of its range.
        RunError, OSError: if the run cannot be read, or the picture not written.
    """
    options, run = options or SampleOptions(), place_of(run)
    if options.num_samples is not None and options.num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {options.num_samples}")
    table = Path(options.out) if options.out and Path(options.out).suffix in TABLES else None
    out = picture_file(
        None if table else options.out, run / "figures" / "samples.png", ", or for vectors in .npy or .csv"
    )
    pair, device = load_pair(run, options)
    # a model of pixels draws by itself; of others the data tell what they draw, and its units
    is_of_pixels = getattr(pair.model, "levels", None) is not None
    again = None if is_of_pixels else data_again(Run.open(run), options)
    data = again.shown().to(device) if again else None
    are_vectors = data is not None and len(data.shape) == 1
    if table is not None and not are_vectors:
        raise ValueError(f"--out {table} is for vectors, but this run draws images: give the name of a PNG file")
    if table is not None and table.exists():
        raise ValueError(f"{table} exists, and may be data of yours: choose another name, or remove it")
    for file in [out] if table is None else [out, table]:
        try_writing(file)
    count = options.num_samples or (1000 if are_vectors else 16)
    from inference import plot_samples  # matplotlib is slow to import
    from inference.figures.style import save

    with Bar("drawing", count, "draws") as bar:
        figure = plot_samples(pair.model, count, data=data, seed=options.seed)
        bar.update(count)
    print(save(figure, out))
    if table is not None and again is not None and data is not None:
        vectors, labels = _vectors(pair, count, data, options.seed)
        names = [*(getattr(data, "columns", None) or (f"x{d}" for d in range(vectors.shape[1])))]
        column, classes = _column_of_labels(Run.open(run), names), again.record["classes"]
        as_csv = table.suffix == ".csv"
        write_whole(table, _as_csv(vectors, labels, names, column, classes) if as_csv else _as_npy(vectors))
        print(table)
    return out


def _vectors(pair: Pair, count: int, data: DataSet, seed: int) -> tuple[Tensor, Tensor | None]:
    """The draws of the figure, in the units of the data, and their labels."""
    from inference.figures.drawing import drawn, undisturbed
    from inference.figures.points import restored
    from pyro_models_cli.report.pictures import each_class

    labels = each_class(pair.model, count)
    with undisturbed(seed, pair.model):
        site = drawn(pair.model, count if labels is None else len(labels), labels, data)
    return restored(data, site["value"]), labels


def _column_of_labels(run: Run, others: Sequence[str]) -> str:
    """The name that the column of labels had in the run's data, if it had one, else "label"."""
    named = run.config.get("label_column")
    names = [named if named and not named.isdigit() else "label", "label", "label_"]
    return next(name for name in names if name not in others or name == "label_")


def _as_npy(vectors: Tensor) -> bytes:
    content = io.BytesIO()
    np.save(content, vectors.cpu().numpy())
    return content.getvalue()


def _as_csv(
    vectors: Tensor, labels: Tensor | None, names: list[str], column: str, classes: Sequence[str] | None
) -> bytes:
    """A table with a header; labels come last, by the names of the classes if they have any."""
    digits = 9 if vectors.element_size() == 4 else 17
    rows = [[f"{number:.{digits}g}" for number in row] for row in vectors.tolist()]
    if labels is not None:
        names = [*names, column]
        for row, label in zip(rows, labels.tolist(), strict=True):
            row.append(classes[label] if classes and label < len(classes) else str(label))
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([names, *rows])
    return content.getvalue().encode(errors="backslashreplace")


def command(argv: Sequence[str] | None = None) -> None:
    sample(*parse_run(SampleOptions, __doc__, argv))
