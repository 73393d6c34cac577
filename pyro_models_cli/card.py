"""The page of a shared run, in Markdown: what it is, its recorded numbers, and how to load it."""

import shlex
from typing import Any

from inference import Run
from inference.data.opening import names_function
from inference.runs.checkpoint import read_progress
from inference.runs.hub import PREFIX
from inference.runs.parts import find_part
from pyro_models_cli.words import one_line

_LONGEST = 200  # letters of a text from the run


def card(run: Run, repository: str) -> str:
    """The model card of a run, from its own records."""
    model, guide = (run.pair.get(half) for half in ("model", "guide"))
    parts = [_name(model), *map(_name, _parts_of(model)), _name(guide)]
    trained_on = _plain(run.config.get("dataset") or "data of its own")
    kind = "variational-autoencoder" if "VAE" in parts[0] else "normalizing-flow"
    own = sorted({_plain(path.split(".")[0]) for path in _classes_in(run.pair) if find_part(path) is None})
    allow = f", allow={own}" if own else ""
    source = str(run.config.get("dataset") or "")
    code = sorted({*own, *([_plain(source.split(".")[0])] if names_function(source) else [])})
    allowed = " --allow_import " + " ".join(code) if code else ""
    file = _plain((run.data or {}).get("path") or "")
    lines = [
        "---",
        "library_name: pyro-models",
        f"tags: [pyro, {kind}]",
        "---",
        f"# {repository.partition('/')[2]}",
        "",
        f"A `{parts[0]}` and its guide, trained on {trained_on} with pyro-models; the weights are those of epoch",
        f"{_epoch_of(run):g}. Parts: {', '.join(f'`{part}`' for part in parts)}.",
        "",
        *_numbers(run),
        "",
        "## Load it",
        "```python",
        "from inference import load",
        "",
        f'pair = load("{PREFIX}{repository}"{allow})  # needs huggingface_hub',
        "pair.model, pair.guide",
        "```",
        "```bash",
        f"pyro-models evaluate {PREFIX}{repository}{f' --dataset {shlex.quote(file)}' if file else ''}{allowed}",
        "```",
        *(
            [
                f"It needs code of its author's besides: {', '.join(f'`{name}`' for name in code)}, which is not part "
                "of it and must lie in the current folder, or where Python finds packages."
            ]
            if code
            else []
        ),
        *(
            [f"Its data, `{file}`, are not part of it: the command takes the place where you have them."]
            if file
            else []
        ),
        "Loading it runs no code from its files. It holds no optimiser's state, so its training cannot be resumed.",
    ]
    return "\n".join(lines) + "\n"


def _numbers(run: Run) -> list[str]:
    """A table of the last evaluation, or the bound of these weights' epoch if they were never evaluated."""
    record = run.evaluation()
    if record is None:
        row = next((row for row in run.metrics() if row["epoch"] == _epoch_of(run)), None)
        if row is None:
            return ["It was not evaluated."]
        split = "test" if "test_negative_elbo" in row else "train"
        value = row[f"{split}_negative_elbo"]
        when = "after" if split == "test" or run.config.get("full_train_pass") else "during"
        return [f"Negative ELBO {when} this epoch, on the {split} data: {value:.3f} nats. It was not evaluated."]
    entries = {"log p(x)" if record.get("exact") else "ELBO": record["negative_elbo"]}
    if not record.get("exact"):  # otherwise each bound is the density itself
        entries |= {f"IWAE, m = {m}": entry for m, entry in record["negative_iwae"].items() if m != "1"}
    repeats = f"{record.get('repeats')} repeat{'' if record.get('repeats') == 1 else 's'}"
    how = "" if record.get("binarisation") is None else f", binarisation {_plain(record['binarisation'])}"
    head = f"{record.get('num_test_images')} test data{how}, {repeats}, {record.get('units')}:"
    table = ["| negative | value | standard error over data |", "|---|---|---|"]
    for name, entry in entries.items():
        error = entry["standard_error_over_images"]
        table.append(f"| {_plain(name)} | {entry['value']:.3f} | {'' if error is None else f'{error:.3f}'} |")
    return [_plain(head), "", *table]


def _epoch_of(run: Run) -> float:
    """The epoch of the weights that the run has, with the part of one that was begun."""
    progress = read_progress(run.default_weights)
    return progress.get("epoch", 0) + progress.get("part", 0)


def _classes_in(value: Any) -> list[str]:
    """The paths of all classes that a description names."""
    if isinstance(value, list):
        return [path for entry in value for path in _classes_in(entry)]
    if not isinstance(value, dict):
        return []
    own = [value["class_path"]] if isinstance(value.get("class_path"), str) else []
    return own + [path for entry in value.values() for path in _classes_in(entry)]


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
