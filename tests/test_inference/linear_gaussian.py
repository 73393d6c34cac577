"""A model whose log p(x) and posterior are known: z ~ N(0, I), x ~ N(W z + b, s^2 I)."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn


class LinearGaussian(nn.Module):
    def __init__(self, size: int = 3, latent_dim: int = 2, noise: float = 0.7) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, latent_dim))
        self.offset = nn.Parameter(torch.randn(size))
        self.noise = noise

    def forward(self, x: Tensor | None = None, batch: int = 1) -> Tensor:
        latent_dim = self.weight.shape[1]
        with pyro.plate("data", batch if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(latent_dim), 1.0).to_event(1))
            mean = z @ self.weight.T + self.offset
            return pyro.sample("x", dist.Normal(mean, self.noise).to_event(1), obs=x)

    def log_evidence(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.noise**2 * torch.eye(len(self.offset))
        return dist.MultivariateNormal(self.offset, covariance).log_prob(x)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, latent_dim) and covariance (latent_dim, latent_dim)."""
        precision = torch.eye(self.weight.shape[1]) + self.weight.T @ self.weight / self.noise**2
        covariance = precision.inverse()
        return (x - self.offset) @ self.weight @ covariance / self.noise**2, covariance


class ExactGuide(nn.Module):
    """The posterior itself."""

    def __init__(self, model: LinearGaussian) -> None:
        super().__init__()
        self.of = model

    def forward(self, x: Tensor, batch: int = 1) -> None:
        with pyro.plate("data", len(x)):
            mean, covariance = self.of.posterior(x)
            pyro.sample("z", dist.MultivariateNormal(mean, covariance))


class WideGuide(nn.Module):
    """A mean-field guide that is off: the exact mean shifted, and too wide."""

    def __init__(self, model: LinearGaussian, shift: float = 0.3, scale: float = 0.8) -> None:
        super().__init__()
        self.of, self.shift, self.scale = model, shift, scale
        self.calls = 0

    def forward(self, x: Tensor, batch: int = 1) -> None:
        self.calls += 1
        with pyro.plate("data", len(x)):
            mean, _ = self.of.posterior(x)
            pyro.sample("z", dist.Normal(mean + self.shift, self.scale).to_event(1))
