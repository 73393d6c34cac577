"""Estimate importance-weighted bounds of a trained run on the test images, with standard errors.

The bound with m importance samples (IWAE) is at most the log-likelihood, and rises towards it with m; with one it is
the evidence lower bound (ELBO).  Bounds are printed with the sign turned, in nats per image: lower is better.
"""

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pyro import poutine

from inference import DataSet, Images, Pair, Run, bits_per_dim, negative_bounds
from inference.evaluation.bounds import products_for
from inference.programs.param_store import param_store_unchanged
from inference.programs.terms import sample_sites
from inference.system.files import write_whole
from inference.system.processes import join_processes
from inference.system.products import Wanted
from inference.system.progress import Bar
from pyro_models_cli.data import data_again
from pyro_models_cli.options import RunOptions
from pyro_models_cli.recorded import command_of, own_command
from pyro_models_cli.trained import checked_result, is_writable, load_pair, parse_run, write_all
from pyro_models_cli.words import one_line

# default numbers of samples and repeats: for codes, for dequantised pixels, and where the bound is the density itself
CODES: tuple[Sequence[int], int] = ((5, 50, 150), 5)
INTEGER: tuple[Sequence[int], int] = ((1, 8), 5)
EXACT: tuple[Sequence[int], int] = ((1,), 1)
_RARE = 5.0  # times the error of another bound, which is usually much the same


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RunOptions):
    """Options of the estimate.

    Args:
        m: numbers of importance samples; by default 5 50 150 for binary images and vectors, 1 8 for integer pixels, 1
            for models without latents, whose bound is the density itself.
        repeats: independent estimates to average, of new draws on the same data; by default 5, or 1 for models without
            latents.  Their standard error is shown, and falls with the square root of this number.
        num_samples: also estimate the log-likelihood with this many importance samples; not by default.
        num_images: use only the first N test images or vectors; by default all.
        products: what multiplies float32 matrices on a CPU, as in training.
        batch_size: test images or vectors at a time.
        chunk_size: pairs of an image and a sample in memory at a time; by default what 16 MB of pixels hold.
        seed: seed of the draws.
        result: JSON file to write the record to, beside the one in the run's folder.
    """

    m: Sequence[int] | None = None
    repeats: int | None = None
    num_samples: int | None = None
    num_images: int | None = None
    batch_size: int = 200
    chunk_size: int | None = None
    seed: int = 0
    products: Wanted = "auto"
    result: str | None = None


def evaluate(run: Path | str, options: EvaluateOptions | None = None, command: str | None = None) -> dict[str, Any]:
    """Estimate the bounds of a run, print them, and keep them in the run's folder.

    Args:
        run: folder of the run, or its address ``hf://owner/name``.
        options: of the estimate.
        command: the command line to record; by default one that gives these options.

    Returns:
        The record, as in the run's ``evaluation.json``.

    Raises:
        ValueError: if an option is out of its range.
        RunError, OSError: if the run cannot be read, or the record not written.
    """
    options = options or EvaluateOptions()
    opened = Run.open(run)
    record = {  # read now: by the end it may be another run
        "command": f"{opened.environment['command']} && {command or command_of('evaluate', options, run)}",
        "commit": opened.environment["commit"],
        "machine": opened.environment["machine"],
        "minutes": round(opened.minutes, 1),
    }
    if options.num_samples is not None and options.num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {options.num_samples}")
    description = opened.pair
    rank, _ = join_processes(options.device)
    with Bar("opening the run and its data"):
        pair, device = load_pair(opened.path, options)
        test = data_again(opened, options).tested().to(device)
    if options.num_images is not None:
        if options.num_images < 1:
            raise ValueError(f"num_images must be at least 1; got {options.num_images}")
        test = test.take(slice(options.num_images))
    result = _place_of_result(options.result, opened)
    kept = rank > 0 or is_writable(opened)
    record |= {"seed": pair.config["seed"], "epochs": pair.epoch, "pair": description}
    record |= {"dataset": pair.config["dataset"], **measure(pair, test, options, device)}
    if rank == 0:  # of several processes, only the first reports
        print_table(record, _bits_per_nat(test))
        text = json.dumps(record, indent=2) + "\n"
        part = "" if options.num_images is None else f"_first_{len(test)}"  # does not replace a full evaluation
        file = opened.path / f"evaluation{part}.json"
        earlier = ", in place of an earlier record" if file.exists() else ""
        write_all(
            *([partial(opened.write_result, file.name, text)] if kept else []),
            *([partial(write_whole, result, text)] if result else []),
        )
        if kept:
            print(f"kept in {file}{earlier}")
        warn_of_rare_draws(record)
    return record


def _place_of_result(file: str | None, run: Run) -> Path | None:
    """Where else to write the record, checked before the work."""
    if file is None:
        return None
    result = checked_result(file)
    ours = result.resolve().parent == run.path.resolve() and not result.name.startswith("evaluation")
    if ours and result.exists():
        raise ValueError(f"--result would replace {result}, which is part of the run: choose another file")
    return result


def measure(pair: Pair, test: DataSet, options: EvaluateOptions, device: torch.device) -> dict[str, Any]:
    """The estimates for a pair on test data, as the record holds them."""
    exact = not draws_latents(pair.guide, test)
    usual_ms, usual_repeats = EXACT if exact else INTEGER if _are_integers(test) else CODES
    ms = sorted(set(options.m or usual_ms))
    repeats = usual_repeats if options.repeats is None else options.repeats
    memory = options.batch_size, options.chunk_size
    started = time.perf_counter()
    products = products_for(options.products, repeats * len(test) * max(ms), device)
    how = *memory, options.seed, products
    bounds = negative_bounds(pair.model, pair.guide, test, [1, *ms], repeats, *how)
    record: dict[str, Any] = {
        "binarisation": getattr(test, "binarisation", None),
        "conditional": test.conditional,
        "exact": exact,
        "num_test_images": len(test),
        "repeats": repeats,
        "products": products,
        "units": f"nats per {'image' if isinstance(test, Images) else 'vector'}, negative bounds (lower is better)",
        "negative_elbo": bounds[1].as_dict(),
        "negative_iwae": {str(m): bounds[m].as_dict() for m in ms},
    }
    if (per_dim := _bits_per_nat(test)) is not None:
        record["bits_per_dim"] = {str(m): bounds[m].scaled(per_dim).as_dict() for m in sorted({1, *ms})}
    if (count := options.num_samples) is not None:
        estimate = negative_bounds(pair.model, pair.guide, test, [count], 1, *how)[count]
        record["negative_log_likelihood"] = {"num_samples": count, **estimate.as_dict()}
    record["evaluation_minutes"] = round((time.perf_counter() - started) / 60, 1)
    return record


def draws_latents(guide: Callable, data: DataSet) -> bool:
    """Whether a guide draws latents; without any, every bound is log p(x) itself."""
    with param_store_unchanged(), torch.no_grad():
        return bool(sample_sites(poutine.trace(guide).get_trace(*data.arguments(slice(1)))))


def _are_integers(test: DataSet) -> bool:
    return isinstance(test, Images) and test.binarisation == "none"


def _bits_per_nat(test: DataSet) -> float | None:
    """Bits per dimension in one nat; None unless the data are integer pixels."""
    return float(bits_per_dim(1.0, test.shape)) if _are_integers(test) else None


def print_table(record: dict[str, Any], bits_per_nat: float | None) -> None:
    kind, how = "images", f", binarisation {record['binarisation']}"
    if record["binarisation"] is None:
        kind, how = "vectors", ""
    given = ", given the label" if record["conditional"] else ""
    what = f"{record['num_test_images']} test {kind} of {one_line(record['dataset'])}{given}"
    if record["exact"]:
        print(f"{what}; ± standard error over {kind}")
        _print_row("negative log p(x)", _over_images(record["negative_elbo"]), bits_per_nat)
        return
    if record["repeats"] == 1:
        errors = f"1 repeat; in brackets the standard error over {kind}, in nats"
    else:
        errors = f"{record['repeats']} repeats; ± standard error over repeats; in brackets over {kind}, in nats"
    print(f"{what}{how}, {errors}")
    _print_row("negative ELBO", record["negative_elbo"], bits_per_nat)
    for m, entry in record["negative_iwae"].items():
        if m != "1":
            _print_row(f"negative IWAE, m = {m}", entry, bits_per_nat)
    if likelihood := record.get("negative_log_likelihood"):
        print(f"{likelihood['num_samples']} samples, 1 repeat; ± standard error over {kind}")
        _print_row("negative log-likelihood", _over_images(likelihood), bits_per_nat)


def warn_of_rare_draws(record: dict[str, Any]) -> None:
    """Warn if a few draws carry the negative ELBO: averaging over more images or repeats does not mend it."""
    elbo = record["negative_elbo"]["standard_error_over_images"]
    tightest = max(record["negative_iwae"], key=int)
    bound = record["negative_iwae"][tightest]["standard_error_over_images"]
    if elbo is not None and bound and elbo > _RARE * bound:
        warnings.warn(
            f"a few draws carry the negative ELBO, whose error over the data is {elbo / bound:.0f} times that of the "
            f"bound with m = {tightest}: here and there the guide draws latents that the model finds all but "
            "impossible; compare the bounds with larger m instead",
            stacklevel=2,
        )


def _over_images(entry: dict[str, Any]) -> dict[str, Any]:
    return {"value": entry["value"], "standard_error": entry["standard_error_over_images"]}


def _print_row(name: str, entry: dict[str, Any], bits_per_nat: float | None) -> None:
    bits = f"   {_with_error(entry, bits_per_nat, 4)} bits/dim" if bits_per_nat else ""
    over_images = entry.get("standard_error_over_images")
    other = "" if over_images is None else f"   ({over_images:.3f})"
    print(f"{name:24s} {_with_error(entry, 1, 3)} nats{bits}{other}")


def _with_error(entry: dict[str, Any], unit: float, digits: int) -> str:
    error = entry["standard_error"]
    text = f"{entry['value'] * unit:.{digits}f}"
    return text if error is None else f"{text} ± {error * unit:.{digits}f}"


def command(argv: Sequence[str] | None = None) -> None:
    run, options = parse_run(EvaluateOptions, __doc__, argv)
    evaluate(run, options, own_command() if argv is None else None)
