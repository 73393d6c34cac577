"""Draw from a trained model and save a figure: images in a grid, or vectors beside the data."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
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
            has the column names of the data, and a column of labels if the model is conditional.
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
    out = picture_file(None if table else options.out, run / "figures" / "samples.png")
    pair, device = load_pair(run, options)
    # a model of pixels draws by itself; of others the data tell what they draw, and its units
    is_of_pixels = getattr(pair.model, "levels", None) is not None
    data = None if is_of_pixels else data_again(Run.open(run), options).shown().to(device)
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
    if table is not None and data is not None:
        vectors, labels = _vectors(pair, count, data, options.seed)
        write_whole(table, _as_table(vectors, labels, table.suffix, getattr(data, "columns", None)))
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


def _as_table(vectors: Tensor, labels: Tensor | None, kind: str, columns: Sequence[str] | None) -> bytes:
    content = io.BytesIO()
    if kind == ".npy":
        np.save(content, vectors.cpu().numpy())
    else:
        names = list(columns or (f"x{d}" for d in range(vectors.shape[1])))
        digits = ["%.9g" if vectors.element_size() == 4 else "%.17g"] * len(names)
        numbers = vectors.double()
        if labels is not None:
            names, digits = [*names, "label" if "label" not in names else "label_"], [*digits, "%d"]
            numbers = torch.cat([numbers, labels[:, None].to(numbers)], dim=1)
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(names)
        content.write(header.getvalue().encode(errors="backslashreplace"))
        np.savetxt(content, numbers.cpu().numpy(), fmt=digits, delimiter=",")
    return content.getvalue()


def command(argv: Sequence[str] | None = None) -> None:
    sample(*parse_run(SampleOptions, __doc__, argv))
