"""Guides: Pyro programs q(latents | x)."""

from pyro_models.guides.amortized import AmortizedGuide
from pyro_models.guides.flow_dequantizer import FlowDequantizer
from pyro_models.guides.flow_guide import FlowGuide, IAFGuide
from pyro_models.guides.full_rank import FullRankGuide
from pyro_models.guides.mean_field import MeanFieldGuide
from pyro_models.guides.no_latents import NoLatents
from pyro_models.guides.semi_amortized import SemiAmortizedGuide
from pyro_models.guides.top_down import TopDownGuide
from pyro_models.guides.two_level import TwoLevelGuide
from pyro_models.guides.uniform_dequantizer import UniformDequantizer

__all__ = [
    "AmortizedGuide",
    "FlowDequantizer",
    "FlowGuide",
    "FullRankGuide",
    "IAFGuide",
    "MeanFieldGuide",
    "NoLatents",
    "SemiAmortizedGuide",
    "TopDownGuide",
    "TwoLevelGuide",
    "UniformDequantizer",
]
