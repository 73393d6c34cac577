"""Training state in one safetensors file: weights, optimiser and how far the run has come."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, or made for another model."""


def save_checkpoint(
    path: Path, model: nn.Module, guide: nn.Module, optimizer: Optimizer | None = None, **progress: Any
) -> None:
    """Write the state to ``path`` in one step: an interrupted write leaves the old file whole.

    Args:
        path: file to write.
        model: the generative half.
        guide: the inference half.
        optimizer: whose state a later run is to continue; left out of checkpoints kept for use only.
        progress: JSON values that say where the run stands, such as ``epoch=3``.
    """
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"guide.{k}": v for k, v in guide.state_dict().items()}
    header: dict[str, Any] = {"progress": progress}
    if optimizer is not None:
        state = optimizer.state_dict()
        header["param_groups"] = state["param_groups"]
        header["scalars"] = {}
        for index, entries in state["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{key}"] = value
                else:
                    header["scalars"][f"{index}.{key}"] = value
    temporary = path.with_suffix(".tmp")
    # clones: safetensors refuses tensors that share memory
    save_file(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary, {"run": json.dumps(header)}
    )
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(
    path: Path, model: nn.Module, guide: nn.Module, optimizer: Optimizer | None = None
) -> dict[str, Any]:
    """Restore what :func:`save_checkpoint` wrote; the progress values are returned.

    Raises:
        CheckpointError: if the file is missing, damaged, or does not fit the model and guide.
    """
    tensors, header = _read(path)
    try:
        model.load_state_dict(_part(tensors, "model."))
        guide.load_state_dict(_part(tensors, "guide."))
        if optimizer is not None:
            optimizer.load_state_dict(_optimizer_state(tensors, header))
    except (RuntimeError, KeyError, ValueError) as error:
        first = " ".join(str(error).split())[:200]  # it may name every weight
        raise CheckpointError(f"{path} was not made for this model: {first}") from error
    return header["progress"]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: train first, or name another run folder")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["run"])
            return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint of a run ({error})") from error


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _optimizer_state(tensors: dict[str, Tensor], header: dict[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    entries = {**_part(tensors, "optimizer."), **header["scalars"]}
    for name, value in entries.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": header["param_groups"]}
