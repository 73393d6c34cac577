"""Fitting and measuring any pair of Pyro programs, a model and its guide."""

import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from inference.compilation.compiled import CompiledELBO
from inference.compilation.weigher import Weigher
from inference.data.datasets import load_dataset
from inference.data.errors import DataError
from inference.data.images import Images, binarise
from inference.data.opening import Opened, Reading, open_data
from inference.data.protocol import DataSet
from inference.data.vectors import Vectors, standardise
from inference.evaluation.bounds import Estimate, negative_bounds
from inference.evaluation.collapse import collapse_threshold
from inference.evaluation.diagnosis import Diagnosis
from inference.evaluation.diagnostics import diagnose
from inference.evaluation.weights import effective_sample_share, pareto_k
from inference.objectives import STL, BetaELBO, DReG, ImageELBO, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from inference.objectives.with_terms import ELBOWithTerms
from inference.programs.importance import bits_per_dim, iwae_bound, log_weights
from inference.runs.build import build
from inference.runs.checkpoint import CheckpointError
from inference.runs.loading import Pair, load
from inference.runs.reading import RunError
from inference.runs.run import Run
from inference.system.arguments import check_arguments
from inference.system.interrupts import Interrupted
from inference.system.randomness import set_seed
from inference.training.fit import fit
from inference.training.settings import Settings
from inference.training.trial import check_pair

if TYPE_CHECKING:
    from inference.figures.curves import plot_curves
    from inference.figures.density import plot_density_2d
    from inference.figures.latents import plot_latents_2d
    from inference.figures.marginals import plot_marginals
    from inference.figures.pairs import plot_pairs
    from inference.figures.reconstructions import plot_reconstructions
    from inference.figures.samples import plot_samples

__all__ = [
    "STL",
    "BetaELBO",
    "CheckpointError",
    "CompiledELBO",
    "DReG",
    "DataError",
    "DataSet",
    "Diagnosis",
    "ELBOWithTerms",
    "Estimate",
    "ImageELBO",
    "Images",
    "Interrupted",
    "Opened",
    "Pair",
    "Reading",
    "RenyiELBO",
    "Run",
    "RunError",
    "Settings",
    "TraceMeanField_ELBO",
    "Trace_ELBO",
    "Vectors",
    "Weigher",
    "binarise",
    "bits_per_dim",
    "build",
    "check_pair",
    "collapse_threshold",
    "diagnose",
    "effective_sample_share",
    "fit",
    "iwae_bound",
    "load",
    "load_dataset",
    "log_weights",
    "negative_bounds",
    "open_data",
    "pareto_k",
    "plot_curves",
    "plot_density_2d",
    "plot_latents_2d",
    "plot_marginals",
    "plot_pairs",
    "plot_reconstructions",
    "plot_samples",
    "set_seed",
    "standardise",
]

try:
    __version__ = version("pyro-models")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"

# drawn with matplotlib, which is slow to import: the module of each, imported when first asked for
_FIGURES = {
    "plot_curves": "inference.figures.curves",
    "plot_density_2d": "inference.figures.density",
    "plot_latents_2d": "inference.figures.latents",
    "plot_marginals": "inference.figures.marginals",
    "plot_pairs": "inference.figures.pairs",
    "plot_reconstructions": "inference.figures.reconstructions",
    "plot_samples": "inference.figures.samples",
}

check_arguments(globals(), {*__all__} - _FIGURES.keys())

# names that users may still import from here: where each one lives now
_DEPRECATED = {
    "BINARISATIONS": "inference.data.images.BINARISATIONS",
    "CompiledGraph": "inference.compilation.graph.CompiledGraph",
    "CompiledObjective": "inference.CompiledELBO",
    "DATASETS": "inference.data.datasets.DATASETS",
    "Objective": "inference.ELBOWithTerms",
    "Terms": "inference.programs.terms.Terms",
    "describe_environment": "inference.system.environment.describe_environment",
    "draw_traces": "inference.programs.terms.draw_traces",
    "effective_sample_size": "inference.effective_sample_share",
    "elbo_terms": "inference.programs.terms.elbo_terms",
    "epoch_order": "inference.system.randomness.epoch_order",
    "import_object": "inference.runs.build.import_object",
    "import_torchvision": "inference.data.torchvision_ops.import_torchvision",
    "is_there": "inference.data.datasets.is_there",
    "join_processes": "inference.system.processes.join_processes",
    "measure": "inference.training.measure.measure",
    "of_every_process": "inference.system.processes.of_every_process",
    "read_mapping": "inference.runs.reading.read_mapping",
    "write_whole": "inference.system.files.write_whole",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _FIGURES:
        globals()[name] = getattr(import_module(_FIGURES[name]), name)
        check_arguments(globals(), [name])
        return globals()[name]
    if name not in _DEPRECATED:
        raise AttributeError(f"module 'inference' has no attribute {name!r}")
    module, _, new_name = _DEPRECATED[name].rpartition(".")
    warnings.warn(f"inference.{name} is deprecated: use {new_name} from {module}", DeprecationWarning, stacklevel=2)
    namespace = {new_name: getattr(import_module(module), new_name)}
    if module != __name__:  # these have their arguments checked already
        check_arguments(namespace, [new_name])
    return namespace[new_name]
