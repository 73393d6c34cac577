"""Estimate importance-weighted bounds of a trained run on the test images, with standard errors."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from inference import Estimate, Run, bits_per_dim, negative_bounds
from inference.system.environment import describe_environment
from inference.system.files import write_whole
from inference.system.processes import join_processes
from pyro_models_cli.parser import Parser
from pyro_models_cli.trained import add_run_options, checked_result, images_of, is_writable, load_pair, write_all

# numbers of samples and repeats, if none are asked for: of binary images, and of integer pixels
BINARY = ([5, 50, 150], 50)
INTEGER = ([1, 8], 5)


def command(argv: Sequence[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    add_run_options(parser)
    parser.add_argument(
        "--m",
        type=int,
        nargs="+",
        default=None,
        help="numbers of importance samples; by default 5 50 150 for binary images, 1 8 for integer pixels",
    )
    parser.add_argument(
        "--repeats",
        type=int | None,
        default=None,
        help="independent estimates to average; by default 50 for binary images, 5 for integer pixels",
    )
    parser.add_argument(
        "--num_samples", type=int | None, default=None, help="also estimate the log-likelihood with these"
    )
    parser.add_argument("--num_images", type=int | None, default=None, help="only the first test images; all if unset")
    parser.add_argument("--batch_size", type=int, default=200, help="test images at a time")
    parser.add_argument("--chunk_size", type=int | None, default=None, help="(sample, image) pairs held at once")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--result", type=str | None, default=None, help="file to write the record to as well")
    options = parser.parse(argv)

    run = Run.open(options.run)
    of_run = {  # as it is now: by the end it may be another
        "command": f"{run.environment['command']} && {describe_environment()['command']}",
        "commit": run.environment["commit"],
        "machine": run.environment["machine"],
        "minutes": round(run.minutes, 1),
    }
    description = run.pair
    rank, _ = join_processes(options.device)
    pair, device = load_pair(options)
    test = images_of(pair.config, options.data_root)[1].to(device)
    if options.num_images is not None:
        if options.num_images < 1:
            raise ValueError(f"num_images must be at least 1; got {options.num_images}")
        test = test.take(slice(options.num_images))
    if options.result is not None:  # a place that cannot be written is known before the work
        result = checked_result(options.result)
        ours = result.resolve().parent == run.path.resolve() and not result.name.startswith("evaluation")
        if ours and result.exists():
            raise ValueError(f"--result would replace {result}, which is a part of the run: choose another file")
    kept = rank > 0 or is_writable(run)
    ms, repeats = INTEGER if test.binarisation == "none" else BINARY
    ms, repeats = sorted(set(options.m or ms)), repeats if options.repeats is None else options.repeats
    common = {"batch_size": options.batch_size, "chunk_size": options.chunk_size, "seed": options.seed}

    started = time.perf_counter()
    bounds = negative_bounds(pair.model, pair.guide, test, [1, *ms], repeats, **common)
    record: dict[str, Any] = {
        **of_run,
        "seed": pair.config["seed"],
        "epochs": pair.epoch,
        "pair": description,
        "dataset": pair.config["dataset"],
        "binarisation": test.binarisation,
        "conditional": test.conditional,
        "num_test_images": len(test),
        "repeats": repeats,
        "units": "nats per image, negative bounds (lower is better)",
        "negative_elbo": bounds[1].as_dict(),
        "negative_iwae": {str(m): bounds[m].as_dict() for m in ms},
    }
    if test.binarisation == "none":
        per_dim = float(bits_per_dim(1.0, test.image_shape))
        record["bits_per_dim"] = {str(m): bounds[m].scaled(per_dim).as_dict() for m in sorted({1, *ms})}
    if options.num_samples is not None:
        estimate = negative_bounds(pair.model, pair.guide, test, [options.num_samples], 1, **common)
        record["negative_log_likelihood"] = {
            "num_samples": options.num_samples,
            **estimate[options.num_samples].as_dict(),
        }
    record["evaluation_minutes"] = round((time.perf_counter() - started) / 60, 1)

    if rank:  # the first of several processes tells
        return
    likelihood = None if options.num_samples is None else estimate[options.num_samples]
    print_table(bounds, likelihood, record, per_dim if "bits_per_dim" in record else None)
    text = json.dumps(record, indent=2) + "\n"
    part = "" if options.num_images is None else f"_first_{len(test)}"  # leaves a full evaluation alone
    write_all(
        *([partial(run.write_result, f"evaluation{part}.json", text)] if kept else []),
        *([partial(write_whole, Path(options.result), text)] if options.result is not None else []),
    )


def print_table(
    bounds: dict[int, Estimate], likelihood: Estimate | None, record: dict[str, Any], per_dim: float | None
) -> None:
    print(
        f"{record['num_test_images']} test images of {record['dataset']}{', given the label' * record['conditional']}, "
        f"binarisation {record['binarisation']}, "
        f"{record['repeats']} repeats; ± standard error over repeats"
    )
    for m, estimate in sorted(bounds.items()):
        _print_row("negative ELBO" if m == 1 else f"negative IWAE, m = {m}", estimate, per_dim)
    if likelihood is not None:
        over_images = replace(likelihood, standard_error=likelihood.standard_error_over_images)
        print(f"{record['negative_log_likelihood']['num_samples']} samples, 1 repeat; ± standard error over images")
        _print_row("negative log-likelihood", over_images, per_dim)


def _print_row(name: str, estimate: Estimate, per_dim: float | None) -> None:
    line = f"{name:24s} {_with_error(estimate, 3)} nats"
    print(line + (f"   {_with_error(estimate.scaled(per_dim), 4)} bits/dim" if per_dim else ""))


def _with_error(estimate: Estimate, digits: int) -> str:
    error = "" if estimate.standard_error is None else f" ± {estimate.standard_error:.{digits}f}"
    return f"{estimate.value:.{digits}f}{error}"
