"""The tables of a report: what has been measured of the weights it shows."""

from typing import Any

from inference import Pair, Run
from inference.evaluation.diagnosis import ACTIVE
from pyro_models_cli.report.run_data import RunData
from pyro_models_cli.report.sections import Figure, Table, pixels


def tables(run: Run, pair: Pair, data: RunData) -> list[Figure | Table]:
    """Bounds and diagnosis, each if these weights have been measured so."""
    bounds, diagnosis = (
        record if record is not None and record.get("epochs") == pair.epoch else None
        for record in (run.evaluation(), run.diagnosis())
    )
    made: list[Figure | Table] = [] if bounds is None else [_bounds(bounds, pair, data)]
    return [*made, _diagnosis(diagnosis, data)] if diagnosis and diagnosis["latents"] else made


def _bounds(record: dict[str, Any], pair: Pair, data: RunData) -> Table:
    """Importance-weighted bounds; of a model without latents, the log-likelihood itself."""
    if record.get("exact"):
        row = ["negative log p(x)", *_numbers(record["negative_elbo"], 3)[::2]]
        count = f"{record['num_test_images']:,} test {data.noun}s"
        caption = f"Negative log-likelihood of {count}, exact, with its standard error over {data.noun}s."
        return Table("density_table", ["", f"nats per {data.noun}", f"± {data.noun}s"], [row], caption)
    entries = {"negative ELBO (m = 1)": record["negative_elbo"]}
    entries |= {f"negative IWAE, m = {m}": entry for m, entry in record["negative_iwae"].items() if m != "1"}
    header = ["bound", f"nats per {data.noun}", "± repeats", f"± {data.noun}s"]
    rows = [[name, *_numbers(entry, 3)] for name, entry in entries.items()]
    if "bits_per_dim" in record:
        header = [*header, "bits per dimension", "± repeats"]
        in_bits = [record["bits_per_dim"][m] for m in ("1", *(m for m in record["negative_iwae"] if m != "1"))]
        rows = [[*row, *_numbers(entry, 4)[:2]] for row, entry in zip(rows, in_bits, strict=True)]
    given = ", given the label" if pair.config.get("conditional") else ""
    how = f", {pixels(record['binarisation'])}" if record["binarisation"] else ""
    things = f"{data.noun}s"
    repeats = record["repeats"]
    over = f"over repeats (new draws on the same {things}) and " if repeats > 1 else ""
    caption = (
        f"Negative importance-weighted bounds on {record['num_test_images']:,} test {things}{how}{given}: "
        f"{f'means of {repeats} repeats' if repeats > 1 else 'one repeat'}, with standard errors {over}over {things}. "
        f"The rows share their draws and {things}, so the differences between them are far better determined than the "
        "errors of each suggest."
    )
    return Table("bounds", header, rows, caption)


def _numbers(entry: dict[str, Any], digits: int) -> tuple[str, str, str]:
    values = entry["value"], entry["standard_error"], entry["standard_error_over_images"]
    return tuple("-" if value is None else f"{value:.{digits}f}" for value in values)  # type: ignore[return-value]


def _diagnosis(record: dict[str, Any], data: RunData) -> Table:
    """The latents, a row each; the caption says how good the guide is."""
    header = ["latent", "active coordinates", "KL (nats)", "mutual information (nats)"]
    rows = []
    for latent in record["latents"]:
        active = "-" if latent["holds_image"] else f"{latent['active']} of {len(latent['variance_of_means'])}"
        rows.append([latent["name"], active, f"{sum(latent['divergence']):.3f}", f"{latent['mutual_information']:.3f}"])
    above, k = record["share_above_threshold"], record["pareto_k"]
    caption = (
        f"The latents over {record['num_images']:,} test {data.noun}s: a coordinate is active if its posterior mean "
        f"varies by more than {ACTIVE:g}. The guide loses at least {record['gap']:.2f} nats per {data.noun}. The "
        f"Pareto k of its importance weights should be small: it is above {record['pareto_k_threshold']:.2f} for "
        f"{100 * above:.0f} % of {record['num_weighted']:,} {data.noun}s; the median is "
        f"{'infinite' if k is None else f'{k:.2f}'}."
    )
    return Table("diagnosis", header, rows, caption)
