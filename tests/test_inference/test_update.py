"""A step as one graph is the optimiser's step: same weights, moments, counts and statistics."""

import copy
import shutil
import signal
import warnings
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import described_vae, randomise
from pyro.infer import TraceMeanField_ELBO
from torch import nn

from inference import (
    BetaELBO,
    DReG,
    Images,
    Interrupted,
    Run,
    Settings,
    Trace_ELBO,
    build,
    fit,
    set_seed,
)
from inference.system import products
from inference.training import settings as settings_module
from inference.training import steps as stepping
from inference.training.steps import Steps
from pyro_models import (
    VAE,
    DensityModel,
    FlowGuide,
    GaussianVectors,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NoLatents,
    StandardNormal,
    TopDownGuide,
    TwoLevelVAE,
    vector_realnvp,
)

BROKEN = 23
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


class Statistics(nn.Module):
    """A guide with dropout, running statistics, and a parameter that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 4))
        self.net[1].bias.requires_grad_(False)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            loc, raw = self.net(x.flatten(1)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


def vae():
    model = VAE(StandardNormal(2), MLPDecoder(2, (4,), [8]), GaussianVectors((4,)))
    return model, MeanFieldGuide(MLPEncoder((4,), [8]), 2)


def two_layers():
    model = TwoLevelVAE(StandardNormal(2), MLPDecoder(5, (4,), [8]), 3, 2, GaussianVectors((4,)), [8], skip=True)
    return model, TopDownGuide(MLPEncoder((4,), [8]), 3, 2)


def with_statistics():
    return vae()[0], Statistics()


def flow():
    return DensityModel(vector_realnvp(4, hidden=[8])), NoLatents()


def flow_guide():
    return vae()[0], FlowGuide(MLPEncoder((4,), [8]), 2, hidden=[8])


PAIRS = {"vae": vae, "two layers": two_layers, "statistics": with_statistics, "flow": flow, "flow guide": flow_guide}
CASES = [
    *((pair, {}, Trace_ELBO) for pair in PAIRS),
    ("vae", {"clip_norm": 4.0, "weight_decay": 0.1}, Trace_ELBO),
    ("statistics", {"clip_norm": 0.5, "schedule": "cosine"}, partial(BetaELBO, 2.0, 0.5)),
    ("vae", {}, partial(DReG, 4)),
    ("vae", {"weight_decay": 0.1}, TraceMeanField_ELBO),
]


def steps_of(pair, objective, compiles: str, count: int = 60, **options) -> Steps:
    settings = Settings(epochs=count, lr=0.01, device="cpu", compile=compiles, **options)
    return Steps(objective(), *copy.deepcopy(pair), settings, torch.device("cpu"), count)


def states_after(steps: Steps, batches: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Everything that training moves, after a step on each batch."""
    steps.module.train()
    with pyro.validation_enabled(False):
        for number, x in enumerate(batches):
            set_seed(number)
            taken = steps((x,), number, full=len(x) == len(batches[0]))
            assert bool(taken.broken) == (number == BROKEN)
    found = dict(steps.eager.state_dict())
    names = {id(parameter): name for name, parameter in steps.eager.named_parameters()}
    for parameter, state in steps.optimizer.state.items():
        found |= {f"{names[id(parameter)]} {key}": value for key, value in state.items()}
    return found


@pytest.fixture
def quick(monkeypatch):
    """Graphs run as they are recorded, without a compiler."""
    monkeypatch.setattr(stepping, "CompiledUpdate", partial(stepping.CompiledUpdate, backend="eager"))


def compare(pair, objective, count: int = 60, **options) -> None:
    """Steps with and without, one of them not finite, and some of a short batch, which runs without."""
    batches = [torch.randn(16 if number % 20 else 5, 4) for number in range(1, count + 1)]
    batches[BROKEN] = batches[BROKEN] * torch.nan
    randomise(nn.ModuleList(pair), 0.3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered|.*was not registered")
        warnings.filterwarnings("error", ".*without compilation")
        whole = steps_of(pair, objective, "on", count, **options)
        ours = states_after(whole, batches)
        theirs = states_after(steps_of(pair, objective, "off", count, **options), batches)
    assert whole._update._compiler.graph.calls > count / 2
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(
            ours[name], value, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}"
        )
    counts = {float(value) for name, value in ours.items() if name.endswith(" step")}
    assert counts == {count - 1}


@pytest.mark.parametrize(("pair", "options", "objective"), CASES, ids=str)
def test_a_step_as_one_graph_is_the_optimisers_step(float64, quick, pair, options, objective):
    compare(PAIRS[pair](), objective, **options)


@needs_compiler
def test_compiled_code_takes_the_optimisers_steps(float64):
    compare(with_statistics(), partial(BetaELBO, 2.0, 0.5), count=200, clip_norm=0.5, weight_decay=0.1)


@pytest.mark.filterwarnings("ignore:.*was not registered")
def test_other_parameters_than_before_are_not_stepped(quick):
    """A graph that would leave out a parameter is none: the optimiser steps, after one warning."""
    steps = steps_of(vae(), Trace_ELBO, "on")
    steps.module.train()
    steps((torch.randn(16, 4),), 0, full=True)
    steps.eager.guide.requires_grad_(False)
    with pytest.warns(UserWarning, match="other parameters than in the steps before"):
        steps((torch.randn(16, 4),), 1, full=True)
    assert {float(state["step"]) for state in steps.optimizer.state.values()} == {1.0, 2.0}


def zeroed(parameter):
    parameter.grad = torch.zeros_like(parameter)


HOOKS = {
    "on the gradient": lambda parameter: parameter.register_hook(torch.zeros_like),
    "after it is accumulated": lambda parameter: parameter.register_post_accumulate_grad_hook(zeroed),
}


@pytest.mark.parametrize("late", [False, True], ids=["from the start", "later"])
@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
@pytest.mark.filterwarnings("ignore:.*were changed")
def test_hooks_are_heard(quick, hook, late):
    pair = vae()
    weight = next(pair[1].parameters())
    steps = Steps(Trace_ELBO(), *pair, Settings(epochs=6, device="cpu", compile="on"), torch.device("cpu"), 6)
    steps.module.train()
    for number in range(6):
        if number == 3 * late:
            hook(weight)
            steps.optimizer.state.pop(weight, None)  # its momentum would move it too
            before = weight.detach().clone()
        steps((torch.randn(16, 4),), number, full=True)
    assert torch.equal(weight, before)


@pytest.mark.filterwarnings("ignore:.*was not registered")
def test_parameters_that_took_other_numbers_of_steps_are_stepped_by_the_optimiser(float64):
    states = {}
    pair = randomise(nn.ModuleList(vae()), 0.3)
    for how in ("on", "off"):
        steps = steps_of(pair, Trace_ELBO, how)
        steps.module.train()
        for number in range(12):
            steps.eager.guide.requires_grad_(number > 6)
            set_seed(number)
            # the graph starts at the eighth step, when the guide has taken none
            steps((torch.ones(16, 4),), number, full=number > 8)
        states[how] = [parameter.detach() for parameter in steps.eager.parameters()]
        assert {float(state["step"]) for state in steps.optimizer.state.values()} == {12.0, 5.0}
    torch.testing.assert_close(states["on"], states["off"])


class LeavesOut(GaussianVectors):
    """A likelihood that has no use for one parameter in a short batch."""

    def __init__(self) -> None:
        super().__init__((4,))
        self.shift = nn.Parameter(torch.ones(4))

    def forward(self, raw):
        return super().forward(raw + self.shift if len(raw) > 5 else raw)


@pytest.mark.filterwarnings("ignore:.*was not registered")
def test_a_short_batch_that_leaves_a_parameter_out_does_not_count_for_it(float64, quick):
    pair = randomise(nn.ModuleList([VAE(StandardNormal(2), MLPDecoder(2, (4,), [8]), LeavesOut()), vae()[1]]), 0.3)
    batches = [torch.randn(5 if number in (6, 12) else 16, 4) for number in range(20)]
    ours, theirs = (states_after(steps_of(pair, Trace_ELBO, how), batches) for how in ("on", "off"))
    assert {float(value) for name, value in theirs.items() if name.endswith(" step")} == {18.0, 20.0}
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("buffer", [torch.tensor(2), torch.full((4,), 0.5), torch.tensor(0.5).double()], ids=str)
def test_buffers_of_another_layout_are_noticed(buffer):
    """Compiled code would read their bytes as they are."""

    class Shifted(Statistics):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("shift", torch.tensor(0.5))

        def forward(self, x):
            super().forward(x + self.shift.to(x))

    pair, losses = (vae()[0], Shifted()), {}
    for how in ("on", "off"):
        steps = steps_of(pair, Trace_ELBO, how)
        steps.module.train()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for number in range(6):
                if number == 4:
                    steps.eager.guide.shift = buffer
                set_seed(number)
                losses[how] = float(steps((torch.ones(16, 4),), number, full=True).loss)
        assert any("were changed" in str(warning.message) for warning in told) == (how == "on")
    assert losses["on"] == pytest.approx(losses["off"], rel=1e-4)


IMAGES = Images(
    "noise", torch.randint(0, 2, (60, 1, 2, 2), generator=torch.Generator().manual_seed(0)).byte(), levels=2
)
PAIR = described_vae((1, 2, 2), [8])


def run_of(folder, resume: bool = False, stop_at: int | None = None, **options) -> dict[str, bytes]:
    set_seed(0)
    pair = build(PAIR)
    run = Run.open(folder) if resume else Run.create(folder, {"seed": 0}, PAIR)
    settings = Settings(epochs=3, batch_size=10, device="cpu", **options)
    with pytest.MonkeyPatch.context() as patched:
        steps, taken = Steps.__call__, []

        def counted(self, *arguments):
            taken.append(1)
            if len(taken) == stop_at:
                signal.raise_signal(signal.SIGINT)
            return steps(self, *arguments)

        patched.setattr(Steps, "__call__", counted)
        fit(pair["model"], pair["guide"], IMAGES, None, settings, run=run, resume=resume, show=None)
    files = ("checkpoints/last.safetensors", "checkpoints/best.safetensors", "metrics.csv")
    return {name: (folder / name).read_bytes() for name in files}


@pytest.mark.parametrize("library", ["default", "onednn"])
@pytest.mark.parametrize("compiles", ["on", "off"])
@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.5, "weight_decay": 0.1, "schedule": "cosine"}], ids=["", "clipped"]
)
def test_a_run_goes_on_to_the_same_bytes(tmp_path, monkeypatch, quick, library, compiles, options):
    """Also where a try of the products would come out differently by then."""
    options = {"compile": compiles, **options}
    monkeypatch.setattr(settings_module, "_STEPS_WORTH_COMPILING", 1)
    monkeypatch.setattr(products, "better_products", lambda: library)
    monkeypatch.setattr(products, "onednn_is_accurate", lambda: True)
    whole = run_of(tmp_path / "whole", **options)
    with pytest.raises(Interrupted):
        run_of(tmp_path / "cut", stop_at=9, **options)
    other = {"default": "onednn", "onednn": "default"}[library]
    monkeypatch.setattr(products, "better_products", lambda: other)
    assert run_of(tmp_path / "cut", resume=True, **options) == whole


def test_products_that_would_be_rounded_by_now_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_module, "_STEPS_WORTH_COMPILING", 1)
    monkeypatch.setattr(products, "better_products", lambda: "onednn")
    with pytest.raises(Interrupted):
        run_of(tmp_path / "cut", stop_at=9, compile="off")
    monkeypatch.setattr(products, "onednn_is_accurate", lambda: False)
    products._warn_of_rounding.cache_clear()
    with pytest.warns(UserWarning, match="oneDNN would round"):
        run_of(tmp_path / "cut", resume=True, compile="off")


def test_after_a_resumption_the_same_steps_are_taken_by_a_graph(quick):
    """Running statistics change in every step: in a new run the first graph waits a step for parts to initialise."""

    def graphs(run: Steps, numbers: range) -> list[bool]:
        run.module.train()
        by_graph = []
        for number in numbers:
            set_seed(number)
            run((torch.randn(16, 4),), number, full=True)
            by_graph.append(run._update is not None and run._update._compiler.graph is not None)
        return by_graph

    pair = randomise(nn.ModuleList(with_statistics()), 0.3)
    whole = steps_of(pair, Trace_ELBO, "on")
    assert graphs(whole, range(6)) == [False, False, True, True, True, True]
    first = steps_of(pair, Trace_ELBO, "on")
    graphs(first, range(4))
    resumed = steps_of((first.eager.model, first.eager.guide), Trace_ELBO, "on")
    resumed.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    assert graphs(resumed, range(4, 6)) == [True, True]
    for (name, ours), theirs in zip(
        resumed.module.state_dict().items(), whole.module.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
