"""Training state in one safetensors file: weights, optimiser and progress of the run."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from inference.system.files import write_whole

Tensors = dict[str, Tensor]
_ROOM = 2**28  # bytes beyond the weights and two moments for each


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or made for another model."""


class Progress(NamedTuple):
    """Where the run stood: plain values such as ``epoch``, and tensors of an unfinished epoch."""

    values: dict[str, Any]
    tensors: Tensors


def save_checkpoint(
    path: Path,
    model: nn.Module,
    guide: nn.Module,
    optimizer: Optimizer | None = None,
    progress: Progress | None = None,
    previous: Path | None = None,
) -> None:
    """Write the state to ``path`` atomically: an interrupted write leaves the old file intact.

    A digest of the content is stored with it, so that damage is noticed.

    Args:
        path: file to write.
        model: the generative half.
        guide: the inference half.
        optimizer: its state is saved for resuming; None for checkpoints that will not be resumed.
        progress: where the run stands.
        previous: new name for the checkpoint that is already at ``path``.

    Raises:
        OSError: if it cannot be written.
    """
    progress = progress or Progress({}, {})
    tensors = _named("model", model.state_dict()) | _named("guide", guide.state_dict())
    tensors |= _named("progress", progress.tensors)
    header: dict[str, Any] = {"progress": progress.values}
    if optimizer is not None:
        state = optimizer.state_dict()
        header |= {"param_groups": state["param_groups"], "scalars": {}}
        for index, entries in state["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{key}"] = value
                else:
                    header["scalars"][f"{index}.{key}"] = value
    # clones: safetensors refuses tensors that share memory
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    _write(path, tensors, header, previous)


def copy_weights(source: Path, path: Path, half: bool = False) -> None:
    """Write the weights of a checkpoint to another file, without what only a resumed training needs.

    Args:
        source: the checkpoint.
        path: file to write.
        half: round the weights to 16 bits, to halve the file; loaded, they are single precision again.

    Raises:
        CheckpointError: if the checkpoint is missing or damaged, or a weight is too large for 16 bits.
        OSError: if the file cannot be written.
    """
    tensors, header = _read(source)
    kept = {key: value for key, value in tensors.items() if key.startswith(("model.", "guide."))}
    if half:
        kept = {key: value.half() if value.is_floating_point() else value for key, value in kept.items()}
        if lost := [key for key, value in kept.items() if not value.isfinite().all()]:
            raise CheckpointError(f"{source} has weights that are too large for 16 bits, in {lost[0]}: do not round it")
    progress = {key: value for key, value in header["progress"].items() if key not in ("step", "seconds")}
    _write(path, kept, {"progress": progress})


def holds_weights_alone(path: Path) -> bool:
    """Whether this is a checkpoint without the state of an optimiser; False if it cannot be read."""
    header = _read_header(path)
    return "progress" in header and "param_groups" not in header


def holds_float64(path: Path) -> bool:
    """Whether all weights of a checkpoint are in double precision; False if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = [file.get_slice(key) for key in file.keys() if key.startswith(("model.", "guide."))]  # noqa: SIM118
            types = {part.get_dtype() for part in slices}
    except (SafetensorError, OSError):
        return False
    return {name for name in types if name.startswith(("F", "BF"))} == {"F64"}


def _write(path: Path, tensors: Tensors, header: dict[str, Any], previous: Path | None = None) -> None:
    # one string: safetensors does not keep several in order
    text = json.dumps({"sha256": _digest(tensors, header), **header})
    write_whole(path, save(tensors, {"run": text}), previous)


def load_checkpoint(path: Path, model: nn.Module, guide: nn.Module, optimizer: Optimizer | None = None) -> Progress:
    """Restore what :func:`save_checkpoint` wrote, and return where the run stood.

    Raises:
        CheckpointError: if the file is missing, damaged, or does not fit the model and guide, some of
            whose weights may then have been replaced.
    """
    weights = [*model.state_dict().values(), *guide.state_dict().values()]
    tensors, header = _read(path, most=_ROOM + 3 * sum(value.nbytes for value in weights))
    try:
        model.load_state_dict(_part(tensors, "model."))
        guide.load_state_dict(_part(tensors, "guide."))
        if optimizer is not None:
            optimizer.load_state_dict(_optimizer_state(tensors, header, optimizer.state_dict()["param_groups"]))
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        first = " ".join(str(error).split())[:200]  # it may name every weight
        raise CheckpointError(f"{path} was not made for this model: {first}") from error
    return Progress(header["progress"], _part(tensors, "progress."))


def read_progress(path: Path) -> dict[str, Any]:
    """The plain values of a checkpoint's progress, without its weights; empty if it cannot be read."""
    try:
        return dict(_read_header(path)["progress"])
    except (KeyError, ValueError, TypeError):
        return {}


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return dict(json.loads((file.metadata() or {})["run"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError):
        return {}


def _read(path: Path, most: int | None = None) -> tuple[Tensors, dict[str, Any]]:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: train first, or name another run folder")
    if most is not None and path.stat().st_size > most:
        raise CheckpointError(f"{path} was not made for this model: it is far larger than the model's weights")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["run"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        if header.pop("sha256") != _digest(tensors, header):
            raise ValueError("its content is not what was written")
        _check_progress(header["progress"])
        return tensors, header
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint of a run ({error})") from error


def _check_progress(progress: Any) -> None:
    if not isinstance(progress, dict):
        raise ValueError("its progress is no mapping")
    for name in ("epoch", "part"):
        value = progress.get(name, 0)
        if type(value) not in (int, float) or not 0 <= value < 2**53:
            raise ValueError(f"its {name} cannot be {str(value)[:40]!r}")


def _digest(tensors: Tensors, header: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _named(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}.{key}": value for key, value in tensors.items()}


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _optimizer_state(tensors: Tensors, header: dict[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The moments of the file, with the settings of the optimiser that goes on."""
    if [group["params"] for group in header["param_groups"]] != [group["params"] for group in groups]:
        raise ValueError("the optimiser had other parameters")
    state: dict[int, dict[str, Any]] = {}
    entries = {**_part(tensors, "optimizer."), **header["scalars"]}
    for name, value in entries.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": groups}
