"""A pair whose posterior provably collapses, then six cures one by one: which of them help, and why.

Above a certain weight of the divergence, which the images and the likelihood decide, a decoder that
ignores the code is a stable optimum (inference.collapse_threshold).  The pair is trained beyond it.
"""

import shlex
from pathlib import Path
from typing import Any

import torch

from inference import Run, build, collapse_threshold, set_seed
from pyro_models_cli.commands.train_vae import describe_pair, load_images, parse
from pyro_models_cli.parser import Parser
from pyro_models_cli.report.figures import compare, save
from pyro_models_cli.rows import check_row, make_row, print_rows, read_rows, row_of, rows_in, try_rows, write_rows
from pyro_models_cli.trained import checked_result

ROWS = Path(__file__).parents[1] / "configs" / "collapse.yaml"
NETWORKS = "--encoder.hidden [200,200] --decoder.hidden [200,200] --latent_dim 20"
COMMON = {
    "digits": f"--dataset digits {NETWORKS} --likelihood AutoregressivePixels --batch_size 100 --epochs 80",
    "mnist": f"--dataset mnist {NETWORKS} --likelihood AutoregressivePixels --likelihood.sight 112 --epochs 20",
}


def command() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--dataset", choices=list(COMMON), default="digits", help="images to study it on")
    parser.add_argument("--common", type=str | None, default=None, help="more options of train_vae.py for all rows")
    parser.add_argument("--rows", type=str, nargs="+", default=None, help="make only these")
    parser.add_argument("--margin", type=float, default=1.5, help="weight of the divergence, in thresholds of collapse")
    parser.add_argument(
        "--out", type=str | None, default=None, help="folder of the runs; runs/collapse_DATASET if unset"
    )
    parser.add_argument("--result", type=str | None, default=None, help="JSON file for the table; its figure beside it")
    parser.add_argument("--data_root", type=str | None, default=None, help="folder of the data sets")
    parser.add_argument("--num_samples", type=int, default=500, help="of the estimate of the log-likelihood")
    parser.add_argument(
        "--num_images",
        type=int,
        default=10_000,
        help="training images to find the threshold from, binarised anew where there are fewer",
    )
    options = parser.parse()
    if not options.margin > 1:
        raise ValueError(f"margin must be above 1, where collapse is stable; got {options.margin}")
    if options.num_images < 1:
        raise ValueError(f"num_images must be at least 1; got {options.num_images}")

    result = checked_result(options.result) if options.result else None
    if result:
        rows_in(result, options.num_samples)  # something else there is known before the work
    out = Path(options.out or f"runs/collapse_{options.dataset}")
    common = f"{COMMON[options.dataset]} {options.common or ''}"
    rows = read_rows(ROWS, options.rows)
    thresholds: dict[str, float] = {}

    def threshold_of(row: str) -> float:
        parser, chosen = parse([*shlex.split(f"{common} {row}"), "--out", str(out / "none"), *data_root], trusted=False)
        train, _ = load_images(parser, chosen)
        pair = describe_pair(chosen, train, parser.allowed)
        key = repr((pair["model"]["init_args"]["likelihood"], chosen.conditional))
        if key not in thresholds:
            set_seed(0)
            images = train.take(slice(options.num_images))
            draws = [images.arguments() for _ in range(max(1, options.num_images // len(images)))]
            x, *labels = (torch.cat(part) for part in zip(*draws, strict=True))
            likelihood = build(pair, parser.allowed)["model"].likelihood
            thresholds[key] = collapse_threshold(likelihood, x, labels[0] if labels else None)
        return thresholds[key]

    check_row("--common", common)
    data_root = [] if options.data_root is None else ["--data_root", options.data_root]
    weight = round(options.margin * threshold_of(""), 2)
    print(f"collapse is stable above a weight of {threshold_of(''):.3f}: the weight is {weight}", flush=True)
    common = f"{common} --objective BetaELBO --objective.beta {weight}"
    try_rows({name: f"{common} {row}" for name, row in rows.items()}, options.data_root, ())
    table: list[dict[str, Any]] = []
    curves: dict[str, list[float]] = {}
    for name, row in rows.items():
        path = out / name.replace(", ", " ").replace(" ", "_")
        make_row(path, f"{common} {row}", options.data_root, options.num_samples)
        made = row_of(path, options.num_samples) | {"name": name}
        made["weight"] = Run.open(path).config["objective"]["init_args"]["beta"]
        curves[name] = [epoch["test_kl"] for epoch in Run.open(path).metrics()]
        made["weighted"] = made["negative_elbo"]["value"] + (made["weight"] - 1) * made["kl"]
        table.append(made | {"threshold": threshold_of(row)})
    print_rows(table, options.num_samples, "threshold", "weight", "weighted")
    if result:
        write_rows(table, result)
    figure = result.with_suffix(".png") if result else out / "collapse.png"
    active = {row["name"]: sum(row["active_units"].values()) for row in table}
    print(save(compare(curves, "KL on test images (nats)", active, "active coordinates"), figure))
