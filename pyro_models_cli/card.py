"""The page of a shared run, in Markdown: what it is, its recorded numbers, and how to load it."""

from typing import Any

from inference import Run
from inference.runs.hub import PREFIX
from pyro_models_cli.words import one_line

_LONGEST = 200  # letters of a text from the run


def card(run: Run, repository: str) -> str:
    """The model card of a run, from its own records."""
    model, guide = (run.pair.get(half) for half in ("model", "guide"))
    parts = [_name(model), *map(_name, _parts_of(model)), _name(guide)]
    trained_on = _plain(run.config.get("dataset") or "data of its own")
    kind = "variational-autoencoder" if "VAE" in parts[0] else "normalizing-flow"
    lines = [
        "---",
        "library_name: pyro-models",
        f"tags: [pyro, {kind}]",
        "---",
        f"# {repository.partition('/')[2]}",
        "",
        f"A `{parts[0]}` and its guide, trained on {trained_on} for {len(run.metrics())} epochs with",
        f"pyro-models. Parts: {', '.join(f'`{part}`' for part in parts)}.",
        "",
        *_numbers(run),
        "",
        "## Load it",
        "```python",
        "from inference import load",
        "",
        f'pair = load("{PREFIX}{repository}")  # pip install "pyro-models[hub]"',
        "pair.model, pair.guide",
        "```",
        "```bash",
        f"pyro-models evaluate {PREFIX}{repository}",
        "```",
        "Loading it runs no code from its files. It holds no optimiser's state, so its training cannot be resumed.",
    ]
    return "\n".join(lines) + "\n"


def _numbers(run: Run) -> list[str]:
    """A table of the last evaluation, or of the last epoch if it was never evaluated."""
    record = run.evaluation()
    if record is None:
        rows = run.metrics()
        if not rows:
            return ["It was not evaluated."]
        split = "test" if "test_negative_elbo" in rows[-1] else "train"
        value = rows[-1][f"{split}_negative_elbo"]
        return [f"Negative ELBO after the last epoch, on the {split} data: {value:.3f} nats. It was not evaluated."]
    entries = {"ELBO": record["negative_elbo"]}
    entries |= {f"IWAE, m = {m}": entry for m, entry in record["negative_iwae"].items() if m != "1"}
    how = "" if record.get("binarisation") is None else f", binarisation {_plain(record['binarisation'])}"
    head = f"{record.get('num_test_images')} test data{how}, {record.get('repeats')} repeats, {record.get('units')}:"
    table = ["| negative bound | value | standard error over data |", "|---|---|---|"]
    for name, entry in entries.items():
        error = entry["standard_error_over_images"]
        table.append(f"| {_plain(name)} | {entry['value']:.3f} | {'' if error is None else f'{error:.3f}'} |")
    return [_plain(head), "", *table]


def _parts_of(part: Any) -> list[dict[str, Any]]:
    arguments = part.get("init_args") if isinstance(part, dict) else None
    values = arguments.values() if isinstance(arguments, dict) else ()
    return [value for value in values if isinstance(value, dict) and "class_path" in value]


def _name(part: Any) -> str:
    path = part.get("class_path") if isinstance(part, dict) else None
    return _plain(str(path or "part").rpartition(".")[2])


def _plain(text: object) -> str:
    """A short text that is one line and neither markup nor an address."""
    short = one_line(str(text)[:_LONGEST]).replace("://", " ")
    return "".join(letter for letter in short if letter not in "<>[]`|*{}@$&#\\")
