# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# Deep generative models: a variational autoencoder and a flow

| question | about | points |
|---|---|---|
| 1 | theory of the variational autoencoder | 30 |
| 2 | a variational autoencoder of binary digits | 30, and 5 extra |
| 3 | flows: RealNVP | 50 |

Replace `YOUR ANSWER HERE` and `YOUR CODE HERE`. The cells that begin with `check` say what is wrong, in words; each
looks at one function alone, so a mistake in one costs no points in another. When you hand in, the same checks run
once more with other numbers. Number and caption your figures and tables, and write down what you assume. Before you
hand in: *Restart kernel and run all cells*.

Everything runs on one core in a minute. You need this project installed, `make install` in its folder; it brings
PyTorch, Pyro and the data.
"""

# %%
import check_flow
import check_vae
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from inference import load_dataset

torch.manual_seed(0)
levels = 17  # of grey, 0 to 16
train_images, test_images = (part.pixels.flatten(1).float() for part in load_dataset("digits"))  # (N, 64)
print(f"{len(train_images)} training images, {len(test_images)} test images of {train_images.shape[1]} pixels")

# %% [markdown]
r"""
## Question 1: theory (30 points)

**Q1a (8 points).** Let $q(z \mid x) = N(\mu(x), \mathrm{diag}\,\sigma^2(x))$ and $p(z) = N(0, I)$, both on
$\mathbb{R}^k$. Show that

$$
\mathrm{KL}\big(q(z \mid x)\,\|\,p(z)\big) = \frac12 \sum_{i=1}^k \big(\sigma_i^2 + \mu_i^2 - 1 - \log \sigma_i^2\big).
$$
"""

# %% [markdown] nbgrader={"grade": true, "grade_id": "q1a", "locked": false, "points": 8, "schema_version": 3, "solution": true, "task": false}
r"""
Both densities are products over the coordinates, so the divergence is a sum over them. For one coordinate,

$$
\log q(z) - \log p(z) = -\tfrac12 \log \sigma^2 - \frac{(z - \mu)^2}{2 \sigma^2} + \frac{z^2}{2}.
$$

Under $q$, $E[(z - \mu)^2] = \sigma^2$ and $E[z^2] = \sigma^2 + \mu^2$. The mean of the right-hand side is therefore
$\frac12 (-\log \sigma^2 - 1 + \sigma^2 + \mu^2)$.
"""

# %% [markdown]
r"""
**Q1b (8 points).** For draws $z_1, \dots, z_m$ of $q(z \mid x)$ let

$$
L_m(x) = E\Big[\log \frac1m \sum_{i=1}^m \frac{p(x, z_i)}{q(z_i \mid x)}\Big].
$$

Show that $L_m(x) \le \log p(x)$, that it is at least the ELBO, and that it does not fall as $m$ grows.
"""

# %% [markdown] nbgrader={"grade": true, "grade_id": "q1b", "locked": false, "points": 8, "schema_version": 3, "solution": true, "task": false}
r"""
Write $w_i = p(x, z_i) / q(z_i \mid x)$. Each has the mean $E[w_i] = \int p(x, z)\,dz = p(x)$, and so has their
average. The logarithm is concave: by Jensen's inequality $L_m(x) \le \log E\big[\frac1m \sum_i w_i\big] = \log p(x)$.

Let $k < m$, and let $S$ be a random subset of $k$ of the $m$ indices. For given weights, $E_S\big[\frac1k \sum_{i \in
S} w_i\big] = \frac1m \sum_i w_i$, so by Jensen's inequality $\log \frac1m \sum_i w_i \ge E_S\big[\log \frac1k \sum_{i
\in S} w_i\big]$. The mean over the draws gives $L_m \ge L_k$, since any $k$ of the draws are distributed alike. With
$k = 1$: $L_m \ge L_1$, which is the ELBO.
"""

# %% [markdown]
r"""
**Q1c (6 points).** What is posterior collapse? Why does it happen, and what helps against it?
"""

# %% [markdown] nbgrader={"grade": true, "grade_id": "q1c", "locked": false, "points": 6, "schema_version": 3, "solution": true, "task": false}
r"""
*What.* For some coordinates of the code, or all, $q(z \mid x)$ equals $p(z)$ for every $x$: the code says nothing
about the image, and the decoder ignores it. *Why.* The KL term charges for every bit in the code. Early in training
the decoder makes nothing of the code, so lowering KL pays at once; and a decoder that models the image well without a
code (a strong autoregressive one) never needs it. *What helps.* A smaller weight of KL, or one that rises during
training; free bits; a code of the right size; a weaker decoder, or one that sees noisy or masked input; a conditional
model that need not carry the label in its code; other priors and architectures.
"""

# %% [markdown]
r"""
**Q1d (8 points).** Show that

$$
\log p(x) \ge \mathrm{ELBO}(x) = E_q[\log p(x \mid z)] - \mathrm{KL}\big(q(z \mid x)\,\|\,p(z)\big).
$$
"""

# %% [markdown] nbgrader={"grade": true, "grade_id": "q1d", "locked": false, "points": 8, "schema_version": 3, "solution": true, "task": false}
r"""
For every $z$, $\log p(x) = \log p(x \mid z) + \log p(z) - \log p(z \mid x)$. Add and subtract $\log q(z \mid x)$, and
average over $q$:

$$
\log p(x) = E_q[\log p(x \mid z)] - \mathrm{KL}\big(q(z \mid x)\,\|\,p(z)\big) + \mathrm{KL}\big(q(z \mid x)\,\|\,p(z \mid x)\big).
$$

The last term is not negative.
"""

# %% [markdown]
r"""
## Question 2: a variational autoencoder (30 points, 5 extra)

Pixels are binary. $p(z) = N(0, I)$; $p(x \mid z)$ is Bernoulli with the logits `vae.decode(z)`; $q(z \mid x)$ is
normal with the mean and the **variance** that `vae.encode(x)` returns.
"""


# %%
class VAE(nn.Module):
    def __init__(self, pixels: int, latent_dim: int = 8, hidden: int = 100) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ELU(), nn.Linear(hidden, 2 * latent_dim))
        self.decoder = nn.Sequential(nn.Linear(latent_dim, hidden), nn.ELU(), nn.Linear(hidden, pixels))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, pixels) -> mean and variance of their codes, both (B, latent_dim)."""
        mean, raw = self.encoder(x).chunk(2, dim=-1)
        return mean, nn.functional.softplus(raw)

    def decode(self, z: Tensor) -> Tensor:
        """Codes (B, latent_dim) -> the logit of each pixel, (B, pixels)."""
        return self.decoder(z)


def binarise(images: Tensor) -> Tensor:
    """A pixel is 1 with probability grey level / 16, drawn afresh at every call."""
    return torch.bernoulli(images / (levels - 1))


# %% [markdown]
r"""
**Q2a (5 points).** Draw from $N(\text{mean}, \mathrm{diag}(\text{variance}))$ by reparameterisation, so that
gradients reach both.
"""


# %% nbgrader={"grade": false, "grade_id": "sample_gaussian", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sample_gaussian(mean: Tensor, variance: Tensor) -> Tensor:
    """One draw for each mean and variance, of the same shape."""
    ### BEGIN SOLUTION
    return mean + variance.sqrt() * torch.randn_like(mean)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "q2a", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check_vae.sample_gaussian(sample_gaussian)
### BEGIN HIDDEN TESTS
check_vae.sample_gaussian(sample_gaussian, seed=1)
### END HIDDEN TESTS

# %% [markdown]
r"""
**Q2b (10 points).** The negative ELBO of a batch: the closed form of Q1a for the KL term, one draw of each code for
the reconstruction term $-\log p(x \mid z)$. Each term is the sum over the coordinates or pixels of an image, and the
**mean over the batch**. Draw with `sample_gaussian(mean, variance)`.
"""


# %% nbgrader={"grade": false, "grade_id": "negative_elbo_bound", "locked": false, "schema_version": 3, "solution": true, "task": false}
def negative_elbo_bound(vae: VAE, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Binary images (B, pixels) -> negative ELBO, KL term and reconstruction term: three numbers, in nats per image."""
    ### BEGIN SOLUTION
    mean, variance = vae.encode(x)
    logits = vae.decode(sample_gaussian(mean, variance))
    kl = 0.5 * (variance + mean**2 - 1 - variance.log()).sum(-1).mean()
    reconstruction = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1).mean()
    return kl + reconstruction, kl, reconstruction
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "q2b", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check_vae.negative_elbo_bound(negative_elbo_bound)
### BEGIN HIDDEN TESTS
check_vae.negative_elbo_bound(negative_elbo_bound, batch=7, pixels=9, seed=1)
### END HIDDEN TESTS

# %% [markdown]
r"""
**Q2c (5 points).** Train, and plot the KL term, the negative ELBO and the reconstruction term against the epoch, for
training and test images. The loop is given; `curves["train"]` and `curves["test"]` get one row of the three terms for
each epoch.
"""


# %% nbgrader={"grade": false, "grade_id": "train_vae", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["slow"]
def terms(vae: VAE, images: Tensor) -> list[float]:
    """Negative ELBO, KL and reconstruction of a whole split."""
    with torch.no_grad():
        return [term.item() for term in negative_elbo_bound(vae, binarise(images))]


vae = VAE(train_images.shape[1])
optimiser = torch.optim.Adam(vae.parameters(), lr=2e-3)
curves: dict[str, list[list[float]]] = {"train": [], "test": []}
for _ in range(40):
    for batch in train_images[torch.randperm(len(train_images))].split(100):
        optimiser.zero_grad()
        negative_elbo_bound(vae, binarise(batch))[0].backward()
        optimiser.step()
    curves["train"].append(terms(vae, train_images))
    curves["test"].append(terms(vae, test_images))

# %% nbgrader={"grade": true, "grade_id": "q2c", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false} tags=["slow"]
### BEGIN SOLUTION
figure, axes = plt.subplots(1, 3, figsize=(12, 3))
for column, name in enumerate(("negative ELBO", "KL term", "reconstruction term")):
    for split, style in (("train", "-"), ("test", "--")):
        axes[column].plot([row[column] for row in curves[split]], style, label=split)
    axes[column].set(xlabel="epoch", ylabel="nats per image", title=name)
axes[0].legend()
figure.suptitle("Figure 1. Terms of the negative ELBO; a fresh binarisation at every use", y=1.05)
plt.show()
### END SOLUTION

# %% [markdown]
r"""
**Q2d (10 points).** The negative importance-weighted bound $-L_m$ of Q1b, one draw of $z_1, \dots, z_m$ for each
image, averaged over the batch. Take $m$ copies of mean, variance and $x$, and draw with
`sample_gaussian(mean, variance)`.
"""


# %% nbgrader={"grade": false, "grade_id": "negative_iwae_bound", "locked": false, "schema_version": 3, "solution": true, "task": false}
def negative_iwae_bound(vae: VAE, x: Tensor, m: int) -> Tensor:
    """Binary images (B, pixels) -> the mean of their negative bounds, one number, in nats per image."""
    ### BEGIN SOLUTION
    mean, variance = (part.repeat(m, 1) for part in vae.encode(x))  # (m * B, latent_dim): x1 x2 ... x1 x2 ...
    x = x.repeat(m, 1)
    z = sample_gaussian(mean, variance)
    guide, prior = torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
    log_likelihood = -nn.functional.binary_cross_entropy_with_logits(vae.decode(z), x, reduction="none").sum(-1)
    log_w = log_likelihood + prior.log_prob(z).sum(-1) - guide.log_prob(z).sum(-1)
    return -(log_w.view(m, -1).logsumexp(0) - torch.tensor(m).log()).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "q2d", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check_vae.negative_iwae_bound(negative_iwae_bound)
### BEGIN HIDDEN TESTS
check_vae.negative_iwae_bound(negative_iwae_bound, m=3, batch=5, seed=1)
### END HIDDEN TESTS

# %% [markdown]
r"""
**Q2e (5 extra points).** Report the negative bound of the first 100 test images for $m$ = 5, 50 and 150, each the
mean of 50 repeats, beside the negative ELBO. What do you see, and why?
"""

# %% nbgrader={"grade": true, "grade_id": "q2e", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false} tags=["slow"]
### BEGIN SOLUTION
print("Table 1. Bounds of 100 test images, nats per image, means of 50 repeats (standard error of the repeats)")
with torch.no_grad():
    x = binarise(test_images[:100])  # binarised once, so that all rows are about the same images
    bounds = {"negative ELBO": [negative_elbo_bound(vae, x)[0] for _ in range(50)]}
    for m in (5, 50, 150):
        bounds[f"negative IWAE, m = {m}"] = [negative_iwae_bound(vae, x, m) for _ in range(50)]
for name, repeats in bounds.items():
    values = torch.stack(repeats)
    print(f"{name:24s} {values.mean():.3f} ({values.std() / 50**0.5:.3f})")
# The bound falls as m grows, by less and less: it approaches -log p(x), and is nowhere above the negative ELBO (Q1b).
### END SOLUTION

# %% [markdown]
r"""
## Question 3: flows (50 points)

**Q3a (6 points).** Let $z \sim N(0, 1)$ and $x = 1.5\,z + 3$. Derive the density of $x$ by the change of variables.
"""

# %% [markdown] nbgrader={"grade": true, "grade_id": "q3a", "locked": false, "points": 6, "schema_version": 3, "solution": true, "task": false}
r"""
The inverse is $z = (x - 3) / 1.5$, with $|dz/dx| = 1/1.5$. Hence

$$
p(x) = p_z\Big(\frac{x - 3}{1.5}\Big) \frac{1}{1.5} = \frac{1}{1.5 \sqrt{2 \pi}} \exp\Big(-\frac{(x - 3)^2}{2 \cdot 1.5^2}\Big),
$$

which is the density of $N(3, 1.5^2)$.
"""

# %% [markdown]
r"""
**Q3b.** Read [Density estimation using Real NVP](https://arxiv.org/abs/1605.08803) by Dinh, Sohl-Dickstein and
Bengio.

**Q3c (6 points).** A coupling splits $x$ into halves $(x_a, x_b)$ and returns $y = (y_a, y_b)$ with

$$
y_a = x_a, \qquad y_b = \exp(s(x_a)) \odot x_b + t(x_a).
$$

Derive the determinant of its Jacobian.
"""

# %% [markdown] nbgrader={"grade": true, "grade_id": "q3c", "locked": false, "points": 6, "schema_version": 3, "solution": true, "task": false}
r"""
In blocks,

$$
\frac{\partial y}{\partial x} = \begin{pmatrix} I & 0 \\ \partial y_b / \partial x_a & \mathrm{diag}(\exp s(x_a)) \end{pmatrix}.
$$

A block-triangular matrix has the product of the determinants of its diagonal blocks: $\prod_j \exp(s(x_a)_j) =
\exp\big(\sum_j s(x_a)_j\big)$, whatever the derivatives of $s$ and $t$ are.
"""

# %% [markdown]
r"""
**Q3d.** Now RealNVP: four pairs of a coupling and a flip, from images to noise. A network of the class below is
called with $x_a$ and returns $s(x_a)$ and $t(x_a)$.
"""


# %%
class Network(nn.Module):
    def __init__(self, half: int, hidden: int = 100) -> None:
        super().__init__()
        layers = [nn.Linear(half, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, 2 * half)]
        self.layers = nn.Sequential(*layers)

    def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """x_a, (B, half) -> s and t, both (B, half)."""
        s, t = self.layers(a).chunk(2, dim=-1)
        return s.tanh(), t


# %% [markdown]
r"""
**The coupling (20 points: values 8, log-determinant 6, inverse 6).**
"""


# %% nbgrader={"grade": false, "grade_id": "coupling", "locked": false, "schema_version": 3, "solution": true, "task": false}
def coupling_forward(x: Tensor, network: Network) -> tuple[Tensor, Tensor]:
    """x, (B, D) -> y, (B, D), and log |det dy/dx|, (B,)."""
    ### BEGIN SOLUTION
    a, b = x.chunk(2, dim=-1)
    s, t = network(a)
    return torch.cat([a, s.exp() * b + t], dim=-1), s.sum(-1)
    ### END SOLUTION


def coupling_inverse(y: Tensor, network: Network) -> Tensor:
    """y, (B, D) -> the x that coupling_forward takes to y, (B, D)."""
    ### BEGIN SOLUTION
    a, b = y.chunk(2, dim=-1)
    s, t = network(a)
    return torch.cat([a, (b - t) * (-s).exp()], dim=-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "q3d_values", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check_flow.coupling_forward(coupling_forward)
### BEGIN HIDDEN TESTS
check_flow.coupling_forward(coupling_forward, batch=3, size=10, seed=1)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "q3d_log_det", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check_flow.coupling_log_det(coupling_forward)
### BEGIN HIDDEN TESTS
check_flow.coupling_log_det(coupling_forward, batch=3, size=10, seed=1)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "q3d_inverse", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check_flow.coupling_inverse(coupling_inverse)
### BEGIN HIDDEN TESTS
check_flow.coupling_inverse(coupling_inverse, batch=3, size=10, seed=1)
### END HIDDEN TESTS

# %% [markdown]
r"""
**The flip (4 points)** reverses the order of the coordinates of each image (section 3.5 of the paper): what one
coupling kept, the next changes.
"""


# %% nbgrader={"grade": false, "grade_id": "flip", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flip(x: Tensor) -> Tensor:
    """x, (B, D) -> its coordinates in reverse order, (B, D)."""
    ### BEGIN SOLUTION
    return x.flip(-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "q3d_flip", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check_flow.flip(flip)
### BEGIN HIDDEN TESTS
check_flow.flip(flip, batch=4, size=10)
### END HIDDEN TESTS

# %% [markdown]
r"""
**The flow (5 points)**: four pairs, each a coupling with a network of its own and then a flip. Use
`coupling_forward`, `coupling_inverse` and `flip`.
"""


# %% nbgrader={"grade": false, "grade_id": "realnvp", "locked": false, "schema_version": 3, "solution": true, "task": false}
class RealNVP(nn.Module):
    """Four pairs of a coupling and a flip; z = flow(x), x = flow.inverse(z)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.networks = nn.ModuleList(Network(size // 2) for _ in range(4))
        ### END SOLUTION

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x, (B, D) -> z, (B, D), and log |det dz/dx|, (B,)."""
        ### BEGIN SOLUTION
        total = x.new_zeros(len(x))
        for network in self.networks:
            y, log_det = coupling_forward(x, network)
            x, total = flip(y), total + log_det
        return x, total
        ### END SOLUTION

    def inverse(self, z: Tensor) -> Tensor:
        """z, (B, D) -> x, (B, D)."""
        ### BEGIN SOLUTION
        for network in reversed(self.networks):
            z = coupling_inverse(flip(z), network)
        return z
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "q3d_pairs", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check_flow.pairs(RealNVP)
### BEGIN HIDDEN TESTS
check_flow.pairs(RealNVP, batch=3, size=10, seed=1)
### END HIDDEN TESTS

# %% [markdown]
r"""
**The loss (5 points)**: $-\log p(x)$ in nats per image, averaged over the batch, where $z = f(x) \sim N(0, I)$. Keep
all constants.
"""


# %% nbgrader={"grade": false, "grade_id": "flow_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flow_loss(flow: RealNVP, x: Tensor) -> Tensor:
    """x, (B, D) -> the mean of -log p(x), one number."""
    ### BEGIN SOLUTION
    z, log_det = flow(x)
    return -(torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) + log_det).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "q3d_loss", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check_flow.loss(flow_loss)
### BEGIN HIDDEN TESTS
check_flow.loss(flow_loss, batch=3, size=10, seed=1)
### END HIDDEN TESTS

# %% [markdown]
r"""
**Training and samples (4 points).** Grey levels are integers, and a flow needs a density: `to_reals` adds uniform
noise and takes the logit. The loss is that of these real numbers. Train with the given loop, plot both losses against
the epoch, and show 16 random samples.
"""


# %% nbgrader={"grade": false, "grade_id": "train_flow", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["slow"]
def to_reals(images: Tensor) -> Tensor:
    """Grey levels -> the real line."""
    return (0.05 + 0.9 * (images + torch.rand_like(images)) / levels).logit()


def to_images(reals: Tensor) -> Tensor:
    """The real line -> intensities from 0 to 1."""
    return ((reals.sigmoid() - 0.05) / 0.9).clamp(0, 1)


flow = RealNVP(train_images.shape[1])
optimiser = torch.optim.Adam(flow.parameters(), lr=1e-3)
losses: dict[str, list[float]] = {"train": [], "test": []}
for _ in range(30):
    for batch in train_images[torch.randperm(len(train_images))].split(100):
        optimiser.zero_grad()
        flow_loss(flow, to_reals(batch)).backward()
        optimiser.step()
    with torch.no_grad():
        for split, images in (("train", train_images), ("test", test_images)):
            losses[split].append(flow_loss(flow, to_reals(images)).item())

# %% nbgrader={"grade": true, "grade_id": "q3d_samples", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false} tags=["slow"]
### BEGIN SOLUTION
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
for split, values in losses.items():
    left.plot(values, label=split)
left.set(xlabel="epoch", ylabel="nats per image", title="Figure 2. Loss of the flow")
left.legend()
with torch.no_grad():
    samples = to_images(flow.inverse(torch.randn(16, train_images.shape[1])))
right.imshow(samples.view(4, 4, 8, 8).permute(0, 2, 1, 3).reshape(32, 32), cmap="gray_r")
right.set(title="Figure 3. 16 samples of the flow")
right.axis("off")
plt.show()
### END SOLUTION
