"""The records of measurements that a run's folder holds, checked before anything is shown of them."""

from pathlib import Path
from typing import Any

from inference.runs.reading import RunError, check_kinds

_LARGEST = 1e30  # of a measurement; larger whole numbers are no floats
_NUMBER = (int, float)
_IF_ANY = (int, float, type(None))


def checked_evaluation(record: dict[str, Any], file: Path) -> dict[str, Any]:
    """The record of an evaluation, if its estimates are numbers.

    Raises:
        RunError: if not.
    """
    check_kinds(record, file, epochs=_NUMBER, negative_elbo=dict, negative_iwae=dict)
    check_kinds(record, file, num_test_images=int, repeats=int, binarisation=(str, type(None)))
    _check_sizes(record, file)
    bounds, bits = record["negative_iwae"], record.get("bits_per_dim")
    if bits is not None:
        check_kinds(record, file, bits_per_dim=dict)
        check_kinds(bits, file, **dict.fromkeys(("1", *bounds), dict))
    for entry in (record["negative_elbo"], *bounds.values(), *(bits or {}).values()):
        estimate = entry if isinstance(entry, dict) else {}
        check_kinds(estimate, file, value=_NUMBER, standard_error=_IF_ANY, standard_error_over_images=_IF_ANY)
        _check_sizes(estimate, file)
    return record


def checked_diagnosis(record: dict[str, Any], file: Path) -> dict[str, Any]:
    """The record of a diagnosis, if what is shown of it has the right kinds.

    Raises:
        RunError: if not.
    """
    check_kinds(
        record,
        file,
        latents=list,
        gap=_NUMBER,
        pareto_k=_IF_ANY,
        pareto_k_threshold=_NUMBER,
        share_above_threshold=_NUMBER,
        num_images=int,
        num_weighted=int,
    )
    _check_sizes(record, file)
    for latent in record["latents"]:
        kinds = {"name": str, "active": int, "divergence": list, "variance_of_means": list, "holds_image": bool}
        check_kinds(latent if isinstance(latent, dict) else {}, file, **kinds, mutual_information=_NUMBER)
        if not all(type(value) in _NUMBER for value in latent["divergence"]):
            raise RunError(f"{file} is damaged: the divergence of {latent['name']!r:.40} holds more than numbers")
        _check_sizes({**latent, **dict(enumerate(latent["divergence"]))}, file)
    return record


def _check_sizes(content: dict[Any, Any], file: Path) -> None:
    """Check that no whole number is too large to be shown as another number is."""
    for name, value in content.items():
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise RunError(f"{file} is damaged: {name} cannot be {str(value)[:40]!r}")
