"""The recorded graph is the objective: same draws, same loss, same gradients."""

import shutil
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import randomise
from pyro.nn import PyroModule
from torch import nn
from torch.nn.functional import mse_loss

from inference import (
    STL,
    BetaELBO,
    CompiledELBO,
    DReG,
    ELBOWithTerms,
    Images,
    RenyiELBO,
    Settings,
    Trace_ELBO,
    fit,
    log_weights,
    set_seed,
)
from inference.compilation.fallback import Compiler
from inference.compilation.weigher import Weigher

pytestmark = pytest.mark.filterwarnings("ignore:.*was not registered in the param store")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


class Prior(PyroModule):
    """z ~ N(0, 1), x ~ N(net(z), 1), with a few things that a graph must get right."""

    def __init__(self, branch: bool = False) -> None:
        super().__init__()
        self.net = nn.Linear(2, 3)
        self.net.bias.requires_grad_(False)
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("switch", torch.tensor(True))
        self.branch = branch

    def forward(self, x):
        self.seen.add_(1)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = self.net(z)
            if self.branch and loc.sum() > 1e9:
                loc = loc + 1
            if self.switch:
                loc = loc + 0.5
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


class Guide(PyroModule):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 4))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            loc, raw = self.net(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


class OfImages(nn.Module):
    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, x):
        return self.program(x.flatten(1))


def make(elbo=None, dropout: float = 0.0, backend: str = "eager", **options) -> CompiledELBO:
    torch.manual_seed(5)
    model, guide = Prior(**options), randomise(Guide(dropout))
    return CompiledELBO(ELBOWithTerms(elbo or Trace_ELBO(), model, guide), backend).train()


def step(module: nn.Module, *data: torch.Tensor, seed: int = 1, factor: float = 1.0):
    """Loss, terms and gradients of one step."""
    set_seed(seed)
    module.zero_grad()
    with pyro.validation_enabled(False):
        loss, terms = module(*data)
    (factor * loss).backward()
    return loss, tuple(terms), [p.grad for p in module.parameters()]


@pytest.mark.parametrize(
    "elbo",
    [Trace_ELBO, lambda: Trace_ELBO(num_particles=3), RenyiELBO, lambda: STL(2), DReG, lambda: BetaELBO(0.3)],
    ids=["elbo", "three particles", "iwae", "stl", "dreg", "beta"],
)
def test_a_graph_draws_what_the_objective_draws(float64, elbo):
    module, x = make(elbo()), torch.randn(7, 3)
    ours, theirs = step(module, x), step(module.eager, x)
    assert module._compiler.graph is not None
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(step(module, x, seed=2), step(module.eager, x, seed=2))
    assert step(module, x, seed=2)[0] != ours[0]


def test_parameters_and_buffers_are_inputs():
    module, x = make(), torch.randn(7, 3)
    model = module.eager.model
    for count in (1, 2, 3):
        step(module, x)
        assert float(model.seen) == count
    assert dict(module.named_parameters()).keys() == {f"eager.{n}" for n, _ in module.eager.named_parameters()}
    with torch.no_grad():
        model.net.weight.mul_(2)
        model.net.bias.mul_(3)
    torch.testing.assert_close(step(module, x), step(module.eager, x))
    gradients = dict(zip(dict(module.eager.named_parameters()), step(module, x)[2], strict=True))
    assert gradients["model.net.bias"] is None
    assert gradients["model.unused"] is None


def test_a_scaled_loss_has_scaled_gradients():
    module, x = make(), torch.randn(7, 3)
    once, twice = step(module, x)[2], step(module, x, factor=2.0)[2]
    for a, b in zip(once, twice, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(2 * a, b)


def test_progress_is_an_input():
    module, x = make(BetaELBO(warm_up=0.5)), torch.randn(7, 3)
    elbo, losses = module.eager.elbo, []
    for progress in (0.0, 0.25, 0.8):
        elbo.progress = progress
        loss, (kl, reconstruction), _ = step(module, x)
        torch.testing.assert_close(loss, (reconstruction + min(1.0, 2 * progress) * kl).mean())
        losses.append(loss.item())
        assert elbo.progress == progress
    assert losses == sorted(set(losses))


def test_a_compiled_step_has_the_eager_weight_at_the_borders_of_cycles():
    module, x, steps, cycles = make(BetaELBO(2.0, 0.5, cycles=139)), torch.randn(7, 3), 12_510, 139
    for border in range(0, steps, steps // cycles):
        for step_ in {max(0, border - 1), border, border + 1}:
            module.eager.elbo.progress = step_ / steps
            set_seed(step_)
            loss, (kl, reconstruction) = module(x)
            weight = 2 * min(1.0, 2 * (step_ * cycles % steps) / steps)
            torch.testing.assert_close(loss, (reconstruction + weight * kl).mean(), rtol=1e-6, atol=1e-6)
    assert module._compiler.graph is not None


def test_other_batches_run_as_they_are():
    module, x = make(), torch.randn(7, 3)
    step(module, x)
    module._compiler.graph._graph = None  # not to be called
    step(module, x[:2])
    module.eval()
    step(module, x)
    module.train()
    module.enabled = False
    step(module, x)
    module.enabled = True
    with pytest.raises(TypeError, match="not callable"):
        step(module, x)


def test_a_first_call_that_guesses_the_plates_is_the_eager_one(float64):
    """With particles all at once Pyro runs the programs once more, to count their plates: once, and in no graph."""
    module, twin = (make(Trace_ELBO(num_particles=3, vectorize_particles=True)) for _ in range(2))
    x = torch.randn(7, 3)
    for seed in range(4):
        torch.testing.assert_close(step(module, x, seed=seed), step(twin.eager, x, seed=seed))
        assert (module._compiler.graph is None) == (seed == 0)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"branch": True}, "a branch .* depends on the data"),
        ({"elbo": DReG(), "dropout": 0.5}, "noise of its own"),
        ({"backend": "no-such-compiler"}, "no-such-compiler"),
    ],
    ids=["branch", "noise", "compiler"],
)
def test_what_cannot_be_compiled_runs_after_one_warning(options, cause):
    module, x = make(**options), torch.randn(7, 3)
    with pytest.warns(UserWarning, match=f"runs without compilation: .*{cause}") as told:
        first = step(module, x)
    ours = [str(warning.message) for warning in told if "compilation" in str(warning.message)]
    assert len(ours) == 1
    assert "\n" not in ours[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "training runs without")
        torch.testing.assert_close(step(module, x), first)
    torch.testing.assert_close(step(module.eager, x), first)
    assert pyro.util.torch_isnan(torch.tensor(torch.nan))
    assert not pyro.get_param_store().keys()


def test_noise_of_the_guide_is_drawn_anew_at_every_step():
    module, x = make(dropout=0.5), torch.randn(7, 3)
    torch.testing.assert_close(step(module, x), step(module.eager, x))
    assert mse_loss(step(module, x, seed=2)[1][0], step(module, x, seed=3)[1][0]) > 0


@needs_compiler
def test_compiled_code_has_the_objectives_distribution():
    module, x = make(RenyiELBO(), backend="inductor"), torch.randn(7, 3)
    torch.testing.assert_close(step(module, x), step(module.eager, x))
    losses = [
        torch.stack([step(m, x, seed=seed)[0].detach() for seed in range(first, first + 200)])
        for m, first in ((module, 0), (module.eager, 1000))
    ]
    assert len(losses[0].unique()) == 200
    error = sum(sample.var() / len(sample) for sample in losses).sqrt()
    assert abs(losses[0].mean() - losses[1].mean()) < 4 * error


@needs_compiler
def test_a_fit_is_the_same_with_and_without():
    def images(count: int) -> Images:
        return Images("test", torch.randint(0, 2, (count, 1, 1, 3)).byte(), torch.zeros(count).long(), 2, "static")

    train, test = images(20), images(4)
    rows = {}
    for how in ("on", "off"):
        torch.manual_seed(0)
        model, guide = OfImages(Prior()), OfImages(Guide())
        settings = Settings(epochs=3, batch_size=8, compile=how)
        rows[how] = fit(model, guide, train, test, settings)
    for on, off in zip(rows["on"], rows["off"], strict=True):
        for name in on.keys() - {"seconds"}:
            assert on[name] == pytest.approx(off[name], rel=1e-5), name


def test_a_short_last_batch_is_not_what_is_compiled(monkeypatch):
    recorded = []
    monkeypatch.setattr(Compiler, "_record", lambda self, data: recorded.append(len(data[-1])))
    pixels = torch.randint(0, 2, (12, 1, 1, 3)).byte()
    images = Images("test", pixels, torch.zeros(12).long(), 2, "static")
    fit(OfImages(Prior()), OfImages(Guide()), images, images, Settings(epochs=2, batch_size=8, compile="on"))
    assert recorded == [8]  # the second step of the run has 4


def test_runs_that_are_long_enough_are_compiled():
    assert Settings(compile="auto").compiles(100_000)
    assert not Settings(compile="auto").compiles(10)
    assert Settings(compile="on").compiles(1)
    assert not Settings(compile="off").compiles(100_000)
    assert not Settings(mixed_precision="fp16").compiles(100_000)
    with pytest.raises(TypeError, match="'auto', 'on', 'off'"):
        Settings(compile="yes")


def test_auto_leaves_convolutions_on_a_cpu_as_they_are():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 1, 1)))
    assert not Settings(device="cpu").compiles(100_000, nn.Linear(2, 2), network)
    assert Settings(device="cpu").compiles(100_000, nn.Linear(2, 2))
    assert Settings(device="cpu", compile="on").compiles(1, network)


@pytest.mark.parametrize("labels", [(), (torch.arange(7) % 3,)], ids=["images", "labels"])
def test_importance_weights_are_those_of_the_pair(float64, labels):
    model, guide = Prior(), randomise(Guide())
    if labels:  # takes and ignores them
        model, guide = (Labelled(program) for program in (model, guide))
    x = torch.randn(7, 3)
    weigher = Weigher(model.eval(), guide.eval(), pairs=10**9, backend="eager")
    # one image and 11 samples first; other samples, or other images, are not for that graph
    for seed, images, chunk_size in ((1, 1, None), (2, 1, None), (3, 1, 4), (4, 7, None)):
        results = []
        for weigh in (None, weigher):
            set_seed(seed)
            with pyro.validation_enabled(False):
                given = [part[:images] for part in labels] or [None]
                results.append(log_weights(model, guide, x[:images], 11, chunk_size, *given, weigh))
        torch.testing.assert_close(*results)
    assert weigher._compiler.graph is not None
    assert not Weigher(model, guide, pairs=10)._compiles


def test_weights_that_cannot_be_compiled_are_computed_after_one_warning():
    model, guide = Prior(branch=True), randomise(Guide())
    weigher = Weigher(model, guide, pairs=10**9, backend="eager")
    with pytest.warns(UserWarning, match="importance weights run without compilation: a branch"):
        assert weigher(5, torch.randn(7, 3)).shape == (5, 7)


class Labelled(nn.Module):
    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, x, labels):
        return self.program(x + labels.to(x)[:, None])
