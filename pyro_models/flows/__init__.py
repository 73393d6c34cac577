"""Normalising flows: modules whose ``forward()`` returns a distribution."""

from pyro_models.flows.flip_realnvp import flip_realnvp
from pyro_models.flows.flow import Flow, FlowDistribution
from pyro_models.flows.image_realnvp import image_realnvp, multiscale_realnvp
from pyro_models.flows.masked_realnvp import masked_realnvp
from pyro_models.flows.vector_realnvp import vector_realnvp
from pyro_models.flows.zuko_flow import ZukoFlow

__all__ = [
    "Flow",
    "FlowDistribution",
    "ZukoFlow",
    "flip_realnvp",
    "image_realnvp",
    "masked_realnvp",
    "multiscale_realnvp",
    "vector_realnvp",
]
