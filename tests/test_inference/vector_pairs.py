"""Small pairs for vectors, with no latent, one, or two in sequence, made of Pyro and torch alone."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from inference import Vectors

SIZE = 3


class Gaussian(nn.Module):
    """x ~ N(loc, L L'), L lower triangular with a positive diagonal: no latents."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(size))
        self.log_diagonal = nn.Parameter(torch.zeros(size))
        self.below = nn.Parameter(torch.zeros(size, size))

    @property
    def distribution(self) -> dist.MultivariateNormal:
        return dist.MultivariateNormal(self.loc, scale_tril=self.below.tril(-1) + self.log_diagonal.exp().diag())

    def forward(self, x: Tensor, labels: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.distribution, obs=x)


class Nothing(nn.Module):
    """The guide of a model without latents."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> None:
        pass


class Normals(nn.Module):
    """z_1 ~ N(0, I), z_2 ~ N(tanh(A z_1), I), ..., x ~ N(A z_last, scale^2)."""

    def __init__(self, latents: int, size: int = SIZE) -> None:
        super().__init__()
        self.layers = nn.ModuleList([*(nn.Linear(2, 2) for _ in range(latents - 1)), nn.Linear(2, size)])
        self.log_scale = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = x.new_zeros(2)
            for index, layer in enumerate(self.layers, 1):
                z = pyro.sample(f"z_{index}", dist.Normal(loc, torch.ones_like(loc)).to_event(1))
                loc = layer(z if index == 1 else z.tanh())
            pyro.sample("x", dist.Normal(loc, self.log_scale.exp()).to_event(1), obs=x)


class NormalsGuide(nn.Module):
    def __init__(self, latents: int, size: int = SIZE) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(size, 4) for _ in range(latents)])

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for index, layer in enumerate(self.layers, 1):
                loc, log_scale = layer(x).chunk(2, dim=-1)
                pyro.sample(f"z_{index}", dist.Normal(loc, log_scale.exp()).to_event(1))


PAIRS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "no latent": lambda: (Gaussian(), Nothing()),
    "one latent": lambda: (Normals(1), NormalsGuide(1)),
    "two latents": lambda: (Normals(2), NormalsGuide(2)),
}


def vectors(count: int, size: int = SIZE, seed: int = 0, dtype: torch.dtype = torch.float32) -> Vectors:
    """Correlated normal vectors, far from standardised."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    values = 3 + 2 * torch.randn(count, size, generator=generator, dtype=torch.float64) @ mix
    return Vectors(f"vectors {seed}", values.to(dtype))
