"""Fitting and measuring any pair of Pyro programs, a model and its guide."""

from inference.compilation.compiled import CompiledObjective
from inference.compilation.graph import CompiledGraph
from inference.compilation.weigher import Weigher
from inference.data.datasets import DATASETS, DataError, is_there, load_dataset
from inference.data.images import BINARISATIONS, Images, binarise
from inference.data.torchvision_ops import import_torchvision
from inference.evaluation.bounds import Estimate, negative_bounds
from inference.evaluation.collapse import collapse_threshold
from inference.evaluation.diagnostics import Diagnosis, diagnose, effective_sample_size, pareto_k
from inference.objectives import STL, BetaELBO, DReG, ImageELBO, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from inference.objectives.with_terms import Objective
from inference.programs.importance import bits_per_dim, iwae_bound, log_weights
from inference.programs.terms import Terms, draw_traces, elbo_terms
from inference.runs.build import build, import_object
from inference.runs.checkpoint import CheckpointError
from inference.runs.loading import Pair, load
from inference.runs.reading import RunError, read_mapping
from inference.runs.run import Run
from inference.system.arguments import check_arguments
from inference.system.environment import describe_environment
from inference.system.files import write_whole
from inference.system.interrupts import Interrupted
from inference.system.processes import join_processes, of_every_process
from inference.system.randomness import epoch_order, set_seed
from inference.training.fit import fit, measure
from inference.training.settings import Settings
from inference.training.trial import check_pair

__all__ = [
    "BINARISATIONS",
    "DATASETS",
    "STL",
    "BetaELBO",
    "CheckpointError",
    "CompiledGraph",
    "CompiledObjective",
    "DReG",
    "DataError",
    "Diagnosis",
    "Estimate",
    "ImageELBO",
    "Images",
    "Interrupted",
    "Objective",
    "Pair",
    "RenyiELBO",
    "Run",
    "RunError",
    "Settings",
    "Terms",
    "TraceMeanField_ELBO",
    "Trace_ELBO",
    "Weigher",
    "binarise",
    "bits_per_dim",
    "build",
    "check_pair",
    "collapse_threshold",
    "describe_environment",
    "diagnose",
    "draw_traces",
    "effective_sample_size",
    "elbo_terms",
    "epoch_order",
    "fit",
    "import_object",
    "import_torchvision",
    "is_there",
    "iwae_bound",
    "join_processes",
    "load",
    "load_dataset",
    "log_weights",
    "measure",
    "negative_bounds",
    "of_every_process",
    "pareto_k",
    "read_mapping",
    "set_seed",
    "write_whole",
]

check_arguments(globals(), __all__)
