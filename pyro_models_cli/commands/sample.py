"""Draw images from a trained model and save them as a figure."""

from pathlib import Path

from inference import set_seed
from inference.system.files import try_writing
from inference.system.progress import Bar
from pyro_models_cli.parser import Parser
from pyro_models_cli.report.pictures import draw, each_class, to_unit
from pyro_models_cli.trained import add_run_options, load_pair


def command() -> None:
    parser = Parser(description=__doc__)
    add_run_options(parser)
    parser.add_argument("--num_samples", type=int, default=16, help="images to draw, of each class if there are any")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument(
        "--out", type=str | None, default=None, help="PNG file; by default figures/samples.png of the run"
    )
    options = parser.parse()
    if options.num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {options.num_samples}")

    out = Path(options.out) if options.out else Path(options.run) / "figures" / "samples.png"
    if out.suffix != ".png":
        raise ValueError(f"--out must be the name of a PNG file, ending in .png; got {out}")

    pair, _ = load_pair(options)
    try_writing(out)
    set_seed(options.seed)
    labels = each_class(pair.model, options.num_samples)  # a row for each
    count = options.num_samples if labels is None else len(labels)
    with Bar("drawing", count, "images") as bar:
        images = to_unit(pair.model, draw(pair.model, count, labels))
        bar.update(count)
    from pyro_models_cli.report.figures import image_grid, save  # matplotlib is slow to import

    columns = max(1, round(options.num_samples**0.5)) if labels is None else options.num_samples
    save(image_grid(images, columns, rows=None if labels is None else labels.unique().tolist()), out)
    print(out)
