"""Draw images from a trained model and save them as a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference import set_seed
from inference.system.files import try_writing
from inference.system.progress import Bar
from pyro_models_cli.options import RunOptions
from pyro_models_cli.report.pictures import draw, each_class, to_unit
from pyro_models_cli.trained import load_pair, parse_run, picture_file


@dataclass(frozen=True, kw_only=True)
class SampleOptions(RunOptions):
    """Options of the picture.

    Args:
        num_samples: number of images; of each class, if the model is conditional.
        seed: seed of the draws.
        out: PNG file; by default figures/samples.png in the run's folder.
    """

    num_samples: int = 16
    seed: int = 0
    out: str | None = None


def sample(run: Path | str, options: SampleOptions | None = None) -> Path:
    """Draw images from a run's model; returns the path of the picture.

    Raises:
        ValueError: if an option is out of its range.
        RunError, OSError: if the run cannot be read, or the picture not written.
    """
    options = options or SampleOptions()
    if options.num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {options.num_samples}")
    out = picture_file(options.out, Path(run) / "figures" / "samples.png")
    pair, _ = load_pair(run, options)
    try_writing(out)
    set_seed(options.seed)
    labels = each_class(pair.model, options.num_samples)  # a row for each
    count = options.num_samples if labels is None else len(labels)
    with Bar("drawing", count, "images") as bar:
        images = to_unit(pair.model, draw(pair.model, count, labels))
        bar.update(count)
    from inference.figures.image_grid import image_grid  # matplotlib is slow to import
    from inference.figures.style import save

    columns = max(1, round(options.num_samples**0.5)) if labels is None else options.num_samples
    save(image_grid(images, columns, rows=None if labels is None else labels.unique().tolist()), out)
    print(out)
    return out


def command(argv: Sequence[str] | None = None) -> None:
    sample(*parse_run(SampleOptions, __doc__, argv))
