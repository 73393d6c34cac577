"""Models: Pyro programs p(x, latents) with ``forward(x, labels, batch=...)``."""

from pyro_models.models.density_model import DensityModel
from pyro_models.models.flow_model import FlowModel
from pyro_models.models.inpainting import Inpainting
from pyro_models.models.two_level_vae import TwoLevelVAE
from pyro_models.models.vae import VAE

__all__ = ["VAE", "DensityModel", "FlowModel", "Inpainting", "TwoLevelVAE"]
