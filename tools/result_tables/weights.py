"""The table of the weights that come with the repository."""

from pathlib import Path

from result_tables.words import markdown, over_images, part_text, read


def pretrained_table(folder: Path) -> str:
    """The runs in pretrained/, each with its recorded numbers."""
    rows = []
    for file in sorted(folder.glob("*/evaluation.json")):
        record, run = read(file), file.parent
        bounds = record.get("bits_per_dim", record["negative_iwae"])
        most = max(bounds, key=int)
        value = over_images(bounds[most], 3 if "bits_per_dim" in record else 2)
        model, guide = (record["pair"][half] for half in ("model", "guide"))
        parts = [part for part in model["init_args"].values() if isinstance(part, dict)]
        size = sum(weights.stat().st_size for weights in run.glob("checkpoints/*"))
        rows.append(
            (
                f"`{run.name}`",
                record["dataset"],
                "; ".join(map(part_text, [*parts, guide])),
                f"{record['epochs']}",
                f"{value} {'bits/dim' if 'bits_per_dim' in record else 'nats'}, m = {most}",
                f"{size / 1e6:.1f}",
            )
        )
    caption = (
        "Weights that come with the repository, in `pretrained/`; the importance-weighted bound with m samples on the "
        "test set, ± standard error over images, as `pyro-models evaluate` with this m gives it:"
    )
    return markdown(caption, ("", "data", "parts", "epochs", "bound", "MB"), rows)
