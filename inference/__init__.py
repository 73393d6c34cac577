"""Fitting and measuring any pair of Pyro programs, a model and its guide."""

from inference._arguments import check_arguments
from inference.build import build, import_object
from inference.check import check_pair
from inference.checkpoint import CheckpointError
from inference.collapse import collapse_threshold
from inference.compiled import CompiledObjective
from inference.datasets import DATASETS, DataError, is_there, load_dataset
from inference.diagnostics import Diagnosis, diagnose, effective_sample_size, pareto_k
from inference.environment import describe_environment
from inference.evaluate import Estimate, negative_bounds
from inference.files import write_whole
from inference.graph import CompiledGraph
from inference.images import BINARISATIONS, Images, binarise
from inference.importance import bits_per_dim, iwae_bound, log_weights
from inference.interrupts import Interrupted
from inference.loading import Pair, load
from inference.objective import Objective
from inference.objectives import STL, BetaELBO, DReG, ImageELBO, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from inference.processes import join_processes, of_every_process
from inference.randomness import epoch_order, set_seed
from inference.reading import RunError, read_mapping
from inference.run import Run
from inference.settings import Settings
from inference.svi import fit, measure
from inference.terms import Terms, draw_traces, elbo_terms
from inference.torchvision_ops import import_torchvision
from inference.weigher import Weigher

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
