import os
from pathlib import Path

import pyro
import pytest
import torch

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _clean_pyro():
    """Every test starts from the same seed, an empty parameter store and checks switched on."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    pyro.enable_validation(True)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    root = Path(os.environ.get("PYRO_MODELS_DATA", ROOT.parent / "shared" / "data"))
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip(f"no MNIST in {root}; set PYRO_MODELS_DATA to its folder")
    return root


def as_a_build_for_cuda(gpus: int = 0) -> None:
    """Have torch answer as its build for CUDA does on a machine with so many GPUs."""
    built_for = torch.device("cuda")
    torch.accelerator.current_accelerator = lambda check_available=False: (
        built_for if gpus or not check_available else None
    )
    torch.cuda.is_available = lambda: gpus > 0
    torch.cuda.device_count = lambda: gpus


def described_vae(image_shape, hidden, prior: str = "GaussianMixture") -> dict:
    """The description of a small VAE with a code of two coordinates, see ``inference.build``."""

    def part(name: str, **arguments) -> dict:
        return {"class_path": f"pyro_models.{name}", "init_args": arguments}

    decoder = part("MLPDecoder", latent_dim=2, image_shape=list(image_shape), hidden=list(hidden))
    encoder = part("MLPEncoder", image_shape=list(image_shape), hidden=list(hidden))
    return {
        "model": part("VAE", prior=part(prior, latent_dim=2), decoder=decoder),
        "guide": part("MeanFieldGuide", encoder=encoder, latent_dim=2),
    }


def randomise(module: torch.nn.Module, scale: float = 0.3) -> torch.nn.Module:
    """Random weights everywhere: a flow that starts as the identity would test nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, scale)
    return module
