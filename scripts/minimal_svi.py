"""A VAE and a RealNVP fitted with bare Pyro: SVI, an optimiser, a loop. Read from top to bottom."""

import argparse

import pyro
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.optim import Adam
from torch import nn

from inference import Images, binarise, iwae_bound, load_dataset, log_weights, set_seed
from inference.system.randomness import epoch_order
from pyro_models import (
    VAE,
    FlowModel,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    StandardNormal,
    UniformDequantizer,
    flip_realnvp,
)


def fit(model: nn.Module, guide: nn.Module, images: Images, epochs: int, batch_size: int = 100, seed: int = 0) -> float:
    """Stochastic variational inference; returns the negative ELBO of the last epoch, in nats per image."""
    pyro.clear_param_store()
    svi = SVI(model, guide, Adam({"lr": 1e-3}), Trace_ELBO())
    total = 0.0
    for epoch in range(epochs):
        set_seed(seed, epoch, 0, 0)
        order = epoch_order(len(images), seed, epoch)
        total = sum(svi.step(*data) for data in images.batches(batch_size, order))
    return total / len(images)


def vae(images: Images, latent_dim: int = 8) -> tuple[nn.Module, nn.Module]:
    """z ~ N(0, I), x ~ Bernoulli(decoder(z)); q(z|x) = N(encoder(x))."""
    model = VAE(StandardNormal(latent_dim), MLPDecoder(latent_dim, images.image_shape, hidden=[200]))
    guide = MeanFieldGuide(MLPEncoder(images.image_shape, hidden=[200]), latent_dim)
    return model, guide


def realnvp(images: Images) -> tuple[nn.Module, nn.Module]:
    """y ~ RealNVP, x = floor(levels * y); q(y|x) uniform on the pixels' cells."""
    model = FlowModel(flip_realnvp(images.image_shape, pairs=4, hidden=[200]), images.levels)
    return model, UniformDequantizer(images.levels)


def main(epochs: int) -> None:
    train, test = load_dataset("digits")
    for build, how in ((vae, "dynamic"), (realnvp, None)):
        observed, held_out = (binarise(part, how) if how else part for part in (train, test))
        set_seed(0)
        model, guide = build(observed)
        loss = fit(model, guide, observed, epochs)
        with torch.no_grad():
            bound = iwae_bound(log_weights(model, guide, held_out.observe(), num_samples=50), m=50).mean()
            samples = Predictive(model, num_samples=16)(None)["x"]
        print(
            f"{build.__name__}: train negative ELBO {loss:.2f}, test negative IWAE (m = 50) {-bound:.2f} nats an image,"
        )
        print(f"    and {samples.shape[0]} samples of shape {tuple(samples.shape[2:])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("epochs", type=int, nargs="?", default=20, help="at least 1 (default: 20)")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"epochs must be at least 1; got {options.epochs}")
    main(options.epochs)
