"""Load trained pairs from run folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.runs.build import build
from inference.runs.checkpoint import CheckpointError, holds_float64, load_checkpoint
from inference.runs.folder import RunError
from inference.runs.run import Run


@dataclass(frozen=True)
class Pair:
    """A trained model and its guide, in evaluation mode, with the options of their run.

    ``epoch`` is fractional if the run was interrupted within an epoch.
    """

    model: nn.Module
    guide: nn.Module
    config: dict[str, Any]
    epoch: float


def load(
    run_dir: Path | str, checkpoint: str | None = None, allow: Sequence[str] = (), device: torch.device | str = "cpu"
) -> Pair:
    """The pair that a run trained.

    Args:
        run_dir: the run's folder, or ``hf://owner/name`` on the Hugging Face Hub (needs the extra ``hub``).
        checkpoint: "last", "best" or "previous"; the default is "best" if validation data were held out.
        allow: packages outside this project whose classes the run may name.
        device: the device for the pair.

    Raises:
        RunError, CheckpointError: if the folder or the checkpoint is missing or damaged.
        ValueError: if the run names classes that may not be imported.
    """
    run = Run.open(run_dir)
    config = run.config
    description = run.pair
    if description.keys() != {"model", "guide"} or not all(isinstance(half, dict) for half in description.values()):
        raise RunError(f"{run.path / 'model.yaml'} is damaged: expected descriptions of a model and a guide")
    if checkpoint == "best" and run.best_is_last:
        checkpoint = "last"
    file = run.checkpoints / f"{checkpoint}.safetensors" if checkpoint else run.default_weights
    dtype = config.get("dtype", "float64" if holds_float64(file) else "float32")
    if dtype not in ("float32", "float64"):
        raise RunError(f"{run.path / 'config.yaml'} is damaged: dtype must be float32 or float64; got {dtype!r}")
    pair = build(description, allow)
    if dtype == "float64":
        pair["model"].double(), pair["guide"].double()
    try:
        progress = load_checkpoint(file, pair["model"], pair["guide"])
    finally:
        run.check_unchanged()  # otherwise weights and configuration may not match
    if "epoch" not in progress.values:
        raise CheckpointError(f"{file} is no checkpoint of a run: it does not say its epoch")
    model, guide = (pair[half].eval().to(device) for half in ("model", "guide"))
    return Pair(model, guide, config, progress.values["epoch"] + progress.values.get("part", 0))
