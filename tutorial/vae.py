"""A variational autoencoder in one file: torch, Pyro and a data set. Read it from top to bottom, then run it.

python tutorial/vae.py [epochs]      8x8 digits, half a minute on one core
"""

import math
import sys

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from torch import Tensor, nn

from inference import load_dataset


class VAE(nn.Module):
    """A model p(z) p(x | z) of binary images, and a guide q(z | x): two Pyro programs that share the site "z"."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 8, hidden: int = 200) -> None:
        super().__init__()
        pixels = math.prod(image_shape)
        self.latent_dim = latent_dim
        self.decoder = nn.Sequential(  # a code -> the logit of each pixel
            nn.Linear(latent_dim, hidden), nn.ELU(), nn.Linear(hidden, pixels), nn.Unflatten(-1, image_shape)
        )
        self.encoder = nn.Sequential(  # an image -> the mean of its code, and a number behind each variance
            nn.Flatten(), nn.Linear(pixels, hidden), nn.ELU(), nn.Linear(hidden, 2 * latent_dim)
        )

    def model(self, x: Tensor | None = None, batch: int = 16) -> Tensor:
        """z ~ Normal(0, 1), x ~ Bernoulli(decoder(z)); returns the probability of each pixel."""
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", batch if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(self.latent_dim), 1.0).to_event(1))  # (B, latent_dim)
            logits = self.decoder(z)  # (B, 1, H, W)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(3), obs=x)
        return logits.sigmoid()

    def guide(self, x: Tensor) -> None:
        """z ~ Normal(mean(x), variance(x)), both by one network for all images."""
        pyro.module("encoder", self.encoder)
        mean, raw = self.encoder(x).chunk(2, dim=-1)
        variance = nn.functional.softplus(raw)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(mean, variance.sqrt()).to_event(1))


def binarise(pixels: Tensor) -> Tensor:
    """Fresh binary images; a pixel is 1 with probability grey level / 16."""
    return torch.bernoulli(pixels.float() / 16)


def train(vae: VAE, pixels: Tensor, epochs: int, batch_size: int = 100) -> float:
    """Maximise the ELBO; returns the negative ELBO of the last epoch, in nats per image."""
    pyro.clear_param_store()
    svi = SVI(vae.model, vae.guide, Adam({"lr": 2e-3}), Trace_ELBO())
    total = 0.0
    for _ in range(epochs):
        batches = pixels[torch.randperm(len(pixels))].split(batch_size)
        total = sum(svi.step(binarise(batch)) for batch in batches)
    return total / len(pixels)


@torch.no_grad()
def log_weights(vae: VAE, x: Tensor, m: int) -> Tensor:
    """log p(x, z) - log q(z | x) for m draws of each z; (m, B)."""
    draws = pyro.plate("draws", m, dim=-2)  # an outer plate: everything inside happens m times, independently
    guide = poutine.trace(draws(vae.guide)).get_trace(x)
    model = poutine.trace(poutine.replay(draws(vae.model), trace=guide)).get_trace(x)  # the model at the guide's z
    for trace in (guide, model):
        trace.compute_log_prob()
    return model.nodes["z"]["log_prob"] + model.nodes["x"]["log_prob"] - guide.nodes["z"]["log_prob"]


def importance_weighted_bound(log_w: Tensor) -> Tensor:
    """log of the mean of the m weights of each image, (m, B) -> (B,); with m = 1 the ELBO."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def as_text(images: Tensor, per_row: int = 4) -> str:
    """Images (N, 1, H, W) of intensities from 0 to 1 as characters, some beside one another."""
    shades = " .:-=+*#%@"
    rows = []
    for group in images.split(per_row):
        strip = torch.cat(list(group[:, 0]), dim=1)  # (H, per_row * W)
        darkness = (strip * (len(shades) - 1)).round().int().tolist()
        rows += ["".join(2 * shades[level] for level in line) for line in darkness]
    return "\n".join(rows)


def main(epochs: int = 100) -> None:
    pyro.set_rng_seed(0)
    pixels, held_out = (images.pixels for images in load_dataset("digits"))  # (N, 1, 8, 8), from 0 to 16
    vae = VAE(tuple(pixels.shape[1:]))
    print(f"training images: negative ELBO {train(vae, pixels, epochs):.2f} nats per image")

    log_w = log_weights(vae, binarise(held_out), m=150)
    print(f"test images:     negative ELBO {-log_w.mean():.2f}")
    print(f"                 negative IWAE {-importance_weighted_bound(log_w).mean():.2f}, m = {len(log_w)}")
    with torch.no_grad():
        print(as_text(vae.model(batch=16)))


def run(arguments: list[str]) -> None:
    epochs = arguments[0] if arguments else "100"
    if not epochs.isdecimal() or int(epochs) < 1:
        sys.exit(f"the number of epochs must be at least 1; got {epochs}")
    main(int(epochs))


if __name__ == "__main__":
    run(sys.argv[1:])
