"""Models: Pyro programs p(x, latent) with ``forward(x, batch)``."""

from pyro_models.models.flow_model import FlowModel
from pyro_models.models.inpainting import Inpainting
from pyro_models.models.vae import VAE

__all__ = ["VAE", "FlowModel", "Inpainting"]
