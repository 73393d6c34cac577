"""Train a pair whose posterior provably collapses, then six cures one by one, and show which of them help.

Above a certain weight of the divergence (KL), which the images and the likelihood decide, a decoder that ignores the
code is a stable optimum: this threshold is computed first, and the pair is trained with a weight beyond it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference import Run, build, collapse_threshold, set_seed
from pyro_models_cli.commands.train_vae import TrainVAEOptions, describe_pair
from pyro_models_cli.data import data_of
from pyro_models_cli.options import CONFIGS, check_choices, one_of
from pyro_models_cli.parser import Parser, made
from pyro_models_cli.row_table import print_rows, row_of, rows_in, write_rows
from pyro_models_cli.rows import TableOptions, check_folder, check_row, make_row, parse_row, read_rows, try_rows
from pyro_models_cli.trained import checked_result

ROWS = CONFIGS / "collapse.yaml"
NETWORKS = "--encoder.hidden [200,200] --decoder.hidden [200,200] --latent_dim 20"
COMMON = {
    "digits": f"--dataset digits {NETWORKS} --likelihood AutoregressivePixels --batch_size 100 --epochs 80",
    "mnist": f"--dataset mnist {NETWORKS} --likelihood AutoregressivePixels --likelihood.sight 112 --epochs 20",
}


@dataclass(frozen=True, kw_only=True)
class CollapseStudyOptions(TableOptions):
    """Options of the study.

    Args:
        dataset: images to train on.
        common: more options of train-vae for all rows.
        margin: weight of the divergence, as a multiple of the threshold; above 1.
        out: folder for the runs; by default runs/collapse_digits or runs/collapse_mnist.
        num_images: training images to compute the threshold from; fewer are binarised several times.
    """

    dataset: str = one_of(tuple(COMMON), "digits")
    common: str | None = None
    margin: float = 1.5
    out: str | None = None
    num_images: int = 10_000
    num_samples: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self)
        if not self.margin > 1:
            raise ValueError(f"margin must be above 1, where collapse is stable; got {self.margin}")


class Thresholds:
    """The weights above which collapse is stable, computed once for each likelihood.

    Args:
        num_images: training images to compute them from.
    """

    def __init__(self, num_images: int) -> None:
        self.num_images = num_images
        self._found: dict[str, float] = {}

    def of(self, options: TrainVAEOptions) -> float:
        """The threshold of the pair that these options describe."""
        key = repr((options.likelihood, options.conditional))
        if key not in self._found:
            self._found[key] = self._find(options)
        return self._found[key]

    def _find(self, options: TrainVAEOptions) -> float:
        data = data_of(options.config, options.data_root)
        pair = describe_pair(options, data)
        set_seed(0)
        images = data.train.take(slice(self.num_images))
        draws = [images.arguments() for _ in range(max(1, self.num_images // len(images)))]
        x, *labels = (torch.cat(part) for part in zip(*draws, strict=True))
        likelihood = build(pair, options.allow_import)["model"].likelihood
        return collapse_threshold(likelihood, x, labels[0] if labels else None)


def collapse_study(options: CollapseStudyOptions | None = None) -> list[dict[str, Any]]:
    """Make the missing rows, print the table and draw it; returns its rows.

    Raises:
        ValueError: if an option or a row is wrong; nothing has been trained then.
        RuntimeError: if making a row fails; the rows made so far are kept.
    """
    options = options or CollapseStudyOptions()
    result = checked_result(options.result) if options.result else None
    earlier = rows_in(result, options.num_samples) if result else []
    out = Path(options.out or f"runs/collapse_{options.dataset}")
    rows = read_rows(ROWS, options.rows)
    common = f"{COMMON[options.dataset]} {options.common or ''}"
    check_row("--common", common)
    first = parse_row("--common", common, out / "none", options.data_root)
    if any(row["dataset"] != first.dataset for row in earlier):
        raise ValueError(f"{result} holds rows of other data than {first.dataset}: choose another file")
    thresholds = Thresholds(options.num_images)
    threshold = thresholds.of(first)
    weight = round(options.margin * threshold, 2)
    print(f"collapse is stable above a weight of {threshold:.3f}: the weight is {weight}", flush=True)

    words = {name: f"{common} --objective BetaELBO --objective.beta {weight} {row}" for name, row in rows.items()}
    asked = {
        name: parse_row(name, row, out / name.replace(", ", " ").replace(" ", "_"), options.data_root)
        for name, row in words.items()
    }
    for row in asked.values():
        check_folder(row)
    try_rows(asked)
    table = []
    for name, row in asked.items():
        make_row(row, words[name], options.num_samples)
        table.append(_row_of_study(name, row, options.num_samples) | {"threshold": thresholds.of(row)})
        if result:
            write_rows(table[-1:], result)
    print_rows(table, options.num_samples, "threshold", "weight", "weighted")
    print(_draw(table, asked, result.with_suffix(".png") if result else out / "collapse.png"))
    return table


def _row_of_study(name: str, options: TrainVAEOptions, num_samples: int) -> dict[str, Any]:
    row = row_of(name, Path(options.out), num_samples)
    row["weight"] = Run.open(options.out).config["objective"]["init_args"]["beta"]
    row["weighted"] = row["negative_elbo"]["value"] + (row["weight"] - 1) * row["kl"]
    return row


def _draw(table: Sequence[dict[str, Any]], asked: dict[str, TrainVAEOptions], file: Path) -> Path:
    from inference.figures.style import save  # matplotlib is slow to import
    from pyro_models_cli.report.figures import compare

    curves = {name: [epoch["test_kl"] for epoch in Run.open(row.out).metrics()] for name, row in asked.items()}
    active = {row["name"]: sum(row["active_units"].values()) for row in table}
    return save(compare(curves, "KL on test images (nats)", active, "active coordinates"), file)


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_options(CollapseStudyOptions)
    collapse_study(made(CollapseStudyOptions, parser.parse(argv)))
