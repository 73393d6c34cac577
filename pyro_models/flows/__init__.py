"""Normalising flows: modules whose ``forward()`` returns a distribution."""

from pyro_models.flows.flip_realnvp import flip_realnvp
from pyro_models.flows.flow import Flow, FlowDistribution

__all__ = ["Flow", "FlowDistribution", "flip_realnvp"]
