"""Objectives: Pyro estimators of bounds on log p(x), for :func:`inference.fit` or ``SVI`` to maximise."""

from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

from inference.objectives.beta import BetaELBO
from inference.objectives.bound import ImageELBO
from inference.objectives.path_derivative import STL, DReG
from inference.objectives.renyi import RenyiELBO

__all__ = ["STL", "BetaELBO", "DReG", "ImageELBO", "RenyiELBO", "TraceMeanField_ELBO", "Trace_ELBO"]

PARTS = {"objective": (Trace_ELBO, TraceMeanField_ELBO, RenyiELBO, DReG, STL, BetaELBO)}  # files may name these
