"""Checks of question 2. Each asks one function of the notebook, and gives it a network and helpers that are right."""

import math
from collections.abc import Callable

import torch
from feedback import compare, replaced, seeded, unpacked
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

ORDER = (
    "the copies are in two different orders. x.repeat(m, 1) gives x1 x2 x1 x2, x.repeat_interleave(m, 0) gives "
    "x1 x1 x2 x2: use the same one for mean, variance and x, and group the weights in that order"
)


class Linear:
    """An encoder and a decoder with random weights and known answers."""

    def __init__(self, pixels: int, latent_dim: int = 3) -> None:
        self.encoder = torch.randn(pixels, 2 * latent_dim).div(math.sqrt(pixels)).requires_grad_()
        self.decoder = torch.randn(latent_dim, pixels)
        self.offset = torch.randn(pixels)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = (x @ self.encoder).chunk(2, dim=-1)
        return mean + 0.8, (log_variance - 1.2).exp()

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.decoder + self.offset


class Draws:
    """sample_gaussian as it should be; it remembers what it was asked for and what it drew."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, mean: Tensor, variance: Tensor) -> Tensor:
        mean, variance = torch.broadcast_tensors(mean, variance)
        z = Normal(mean, variance.sqrt()).rsample()
        self.calls.append((mean, variance, z))
        return z

    def of_images(self, mean: Tensor, variance: Tensor, each: int) -> tuple[Tensor, Tensor]:
        """All codes drawn, (N, k), and the image that each belongs to, (N,)."""
        if not self.calls:
            raise AssertionError("no code was drawn: call sample_gaussian(mean, variance)")
        asked_mean, asked_variance, z = (
            torch.cat([p.reshape(-1, mean.shape[-1]) for p in c]) for c in zip(*self.calls, strict=True)
        )
        distances = torch.cdist(torch.cat([asked_mean, asked_variance], -1), torch.cat([mean, variance], -1))
        if distances.min(1).values.max() > 1e-3:
            raise AssertionError("sample_gaussian was called with something else than the encoder's mean and variance")
        image = distances.argmin(1)
        if not (image.bincount(minlength=len(mean)) == each).all():
            raise AssertionError(f"{len(z)} codes were drawn for {len(mean)} images, expected {each} for each image")
        return z, image


def sample_gaussian(answer: Callable, seed: int = 0) -> None:
    """Mean, variance, independence and gradients of the draws."""
    with seeded(seed):
        mean = (3 * torch.randn(4)).expand(20_000, 4).clone().requires_grad_()
        variance = torch.tensor([0.01, 0.25, 4.0, 9.0]).expand(20_000, 4).clone().requires_grad_()
        z = answer(mean, variance)
    if not isinstance(z, Tensor) or z.shape != mean.shape:
        shape = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise AssertionError(f"the draws have shape {shape}, expected that of the mean, {tuple(mean.shape)}")
    noise = (z - mean).detach()
    spread = noise.std(0)
    if spread.max() < 1e-6:
        raise AssertionError("all draws of a coordinate are the same: draw fresh noise for every image")
    for message, wrong in (
        (
            "the variance was taken for the standard deviation: multiply the noise by the root of the variance",
            variance[0],
        ),
        ("the noise is not scaled: multiply it by the root of the variance", torch.ones(4)),
        ("the noise is divided by the standard deviation, not multiplied", variance[0] ** -0.5),
    ):
        assert not torch.allclose(spread, wrong, rtol=0.05), (
            f"the draws have standard deviations {spread.tolist()}: {message}"
        )
    right = variance[0].sqrt()
    assert torch.allclose(spread, right, rtol=0.05), f"standard deviations are {spread.tolist()}, not {right.tolist()}"
    assert (noise.mean(0).abs() < 0.05 * right).all(), "the draws are not centred on the mean: is the noise normal?"
    correlation = torch.corrcoef((noise / right).T) - torch.eye(4)
    assert correlation.abs().max() < 0.1, "coordinates share their noise: draw one number for each of them"
    for name, parameter in (("mean", mean), ("variance", variance)):
        reached = z.requires_grad and torch.autograd.grad(z.sum(), parameter, retain_graph=True, allow_unused=True)[0]
        assert isinstance(reached, Tensor), (
            f"no gradient reaches the {name}: draw the noise first, then shift and scale it"
        )


def divergence_mistakes(mean: Tensor, variance: Tensor) -> list[tuple[str, Tensor]]:
    """The KL term by usual wrong formulas."""

    def value(v: float = 1, m: float = 1, one: float = -1, log: float = -1, half: float = 0.5) -> Tensor:
        return half * (v * variance + m * mean**2 + one + log * variance.log()).sum(-1).mean()

    sign = "the wrong sign in front of {}; compare with Q1a"
    return [
        (sign.format("log variance"), value(log=1)),
        (sign.format("the squared mean"), value(m=-1)),
        (sign.format("the variance"), value(v=-1)),
        (sign.format("the 1"), value(one=1)),
        ("the wrong sign as a whole: a divergence is never negative", -value()),
        ("the factor 1/2 is missing; compare with Q1a", value(half=1)),
        (
            "the variance was taken for the standard deviation",
            value(v=0) + 0.5 * (variance**2 - variance.log()).sum(-1).mean(),
        ),
        (
            "the standard deviation was taken for the variance",
            value(v=0, log=-0.5) + 0.5 * variance.sqrt().sum(-1).mean(),
        ),
        ("the sum over the batch, where the mean is asked for", value() * len(mean)),
        ("the mean over the coordinates of the code, where the sum is asked for", value() / mean.shape[-1]),
    ]


def negative_elbo_bound(answer: Callable, batch: int = 5, pixels: int = 12, seed: int = 0) -> None:
    """Each of the three numbers, for draws that are known."""
    with seeded(seed):
        vae, draws, x = Linear(pixels), Draws(), torch.bernoulli(torch.full((batch, pixels), 0.4))
        with replaced(answer, sample_gaussian=draws):
            parts = unpacked("negative_elbo_bound", answer(vae, x), ("negative ELBO", "KL", "reconstruction"))
    mean, variance = vae.encode(x)
    z, image = draws.of_images(mean, variance, each=1)
    logits = vae.decode(z[image.argsort()])
    kl = kl_divergence(Normal(mean, variance.sqrt()), Normal(0.0, 1.0)).sum(-1).mean()
    reconstruction = -Bernoulli(logits=logits).log_prob(x).sum(-1).mean()
    compare(
        "the KL term",
        parts[1],
        kl,
        divergence_mistakes(mean, variance),
        "Compare with Q1a, then average over the batch.",
    )
    mistakes = [
        ("the wrong sign: it is the negative of log p(x | z)", -reconstruction),
        ("the sum over the batch, where the mean is asked for", reconstruction * batch),
        ("the mean over the pixels, where the sum is asked for", reconstruction / pixels),
    ]
    compare(
        "the reconstruction term", parts[2], reconstruction, mistakes, "It is -log p(x | z), averaged over the batch."
    )
    mistakes = [
        ("the ELBO itself; its negative is asked for", -reconstruction - kl),
        ("the KL term is subtracted; the negative ELBO is reconstruction + KL", reconstruction - kl),
    ]
    compare("the negative ELBO", parts[0], reconstruction + kl, mistakes, "It is reconstruction + KL.")
    reached = isinstance(parts[0], Tensor) and parts[0].requires_grad
    assert reached, "no gradient reaches the encoder: keep tensors, do not call item() or detach()"


def bound(log_w: Tensor, image: Tensor) -> Tensor:
    """The negative bound of a batch from the log-weights of all draws and the image of each."""
    groups = [log_w[image == number] for number in image.unique()]
    return -torch.stack([group.logsumexp(0) - math.log(len(group)) for group in groups]).mean()


def weight_mistakes(vae: Linear, x: Tensor, z: Tensor, image: Tensor, m: int) -> list[tuple[str, Tensor]]:
    """The bound by usual wrong formulas."""
    mean, variance = vae.encode(x)
    guide = Normal(mean, variance.sqrt())
    logits, prior = vae.decode(z), Normal(0.0, 1.0).log_prob(z).sum(-1)
    posterior = Normal(mean[image], variance[image].sqrt()).log_prob(z).sum(-1)
    numbers = torch.arange(len(x))
    repeated = torch.equal(image, numbers.repeat(m))
    other = numbers.repeat_interleave(m) if repeated else numbers.repeat(m)  # the order that was not drawn in

    def weight(of: Tensor = image) -> Tensor:
        return Bernoulli(logits=logits).log_prob(x[of]).sum(-1) + prior - posterior

    log_w, likelihood = weight(), weight() - prior + posterior
    divergence = kl_divergence(guide, Normal(0.0, 1.0)).sum(-1)[image]
    return [
        (
            "the closed-form KL stands in the weights, where the sampled log p(z) - log q(z | x) belongs",
            bound(likelihood - divergence, image),
        ),
        ("log m is missing: the weights are averaged, not summed", bound(log_w, image) - math.log(m)),
        (ORDER, bound(weight(other), image)),
        (ORDER, bound(log_w, other)),
        (ORDER, bound(weight(other), other)),
        ("the mean of the log-weights, which is the ELBO; the log of their mean is asked for", -log_w.mean()),
        ("one log-mean over the whole batch; each image has a bound of its own", bound(log_w, torch.zeros_like(image))),
        ("the bound itself; its negative is asked for", -bound(log_w, image)),
        ("the sum over the batch, where the mean is asked for", bound(log_w, image) * len(x)),
        ("log p(z) is missing in the weights", bound(log_w - prior, image)),
        ("log q(z | x) is missing in the weights", bound(log_w + posterior, image)),
        ("log q(z | x) is added, not subtracted", bound(log_w + 2 * posterior, image)),
        ("the weights underflow to zero, so it is infinite: use torch.logsumexp", torch.tensor(math.inf)),
    ]


def negative_iwae_bound(answer: Callable, m: int = 4, batch: int = 3, seed: int = 0) -> None:
    """The bound for draws that are known: of small images, then of images whose probability underflows."""
    for pixels in (8, 900):
        with seeded(seed):
            vae, draws, x = Linear(pixels), Draws(), torch.bernoulli(torch.full((batch, pixels), 0.4))
            with replaced(answer, sample_gaussian=draws):
                found = answer(vae, x, m)
        z, image = draws.of_images(*vae.encode(x), each=m)
        mean, variance = (part[image] for part in vae.encode(x))
        log_w = Bernoulli(logits=vae.decode(z)).log_prob(x[image]).sum(-1) + Normal(0.0, 1.0).log_prob(z).sum(-1)
        log_w = log_w - Normal(mean, variance.sqrt()).log_prob(z).sum(-1)
        mistakes = weight_mistakes(vae, x, z, image, m)
        compare("the negative IWAE bound", found, bound(log_w, image), mistakes, "Compare with the formula of Q1b.")
