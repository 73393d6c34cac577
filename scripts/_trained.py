"""What the scripts that use a trained run share."""

from collections.abc import Callable
from typing import Any

from _cli import Parser

from inference import Images, Pair, binarise, load, load_dataset


def add_run_options(parser: Parser) -> None:
    parser.add_argument("run", type=str, help="folder of a training run")
    parser.add_argument("--checkpoint", choices=["last", "best"], default=None, help="which weights; last, or best "
                        "where images were held out to choose it by")  # fmt: skip
    parser.add_argument("--data_root", type=str | None, default=None, help="folder of the data sets; by default the "
                        "run's own")  # fmt: skip
    parser.add_argument("--allow_import", type=list[str], default=[], help="packages of your own whose classes the "
                        "run may name, as [mine, other]")  # fmt: skip


def load_pair(options: Any) -> Pair:
    return load(options.run, options.checkpoint, options.allow_import)


def images_of(config: dict[str, Any], data_root: str | None = None) -> tuple[Images, Images]:
    """The images that a run was trained and tested on, observed as it observed them."""
    train, test = load_dataset(config["dataset"], data_root or config.get("data_root"))
    how = config.get("binarisation")
    observed: Callable[[Images], Images] = (lambda i: binarise(i, how, config["seed"])) if how else (lambda i: i)
    return observed(train), observed(test)
