"""Programs of users' own, compiled, against their twins without: same losses, gradients and buffers, step by step."""

import copy
import itertools
import random
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import STL, BetaELBO, CompiledELBO, DReG, ELBOWithTerms, RenyiELBO, Trace_ELBO, set_seed
from inference.programs.terms import draw_traces, elbo_terms
from pyro_models import VAE
from pyro_models.flows import Flow
from pyro_models.transforms import MaskedCoupling, alternating

pytestmark = pytest.mark.usefixtures("float64")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 5))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z), 1.0).to_event(1), obs=x)


class Guide(nn.Module):
    def __init__(self, size: int = 5) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(size, 6), nn.Tanh(), nn.Linear(6, 4))

    def features(self, x):
        return self.net(x)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            loc, raw = self.features(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


class OfImages(nn.Module):
    def __init__(self, guide: nn.Module) -> None:
        super().__init__()
        self.of = guide

    def forward(self, x):
        self.of(x.flatten(1))


class LayerTwice(Guide):
    def __init__(self) -> None:
        super().__init__()
        hidden = nn.Linear(6, 6)
        self.net = nn.Sequential(nn.Linear(5, 6), hidden, nn.Tanh(), hidden, nn.Linear(6, 4))


class BatchNorm(Guide):
    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5, momentum=momentum)

    def features(self, x):
        return self.net(self.norm(x))


class CumulativeBatchNorm(BatchNorm):
    def __init__(self) -> None:
        super().__init__(momentum=None)


class RunningMean(Guide):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(5))

    def features(self, x):
        with torch.no_grad():
            self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
        return self.net(x - self.mean)


class AssignedMean(RunningMean):
    def features(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0).detach()
        return self.net(x - self.mean)


class Counter(Guide):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def features(self, x):
        self.steps += 1
        return self.net(x) * (1 - 0.5**self.steps)


class InitialisesItself(Guide):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("done", torch.tensor(False))
        self.shift = nn.Parameter(torch.zeros(5))

    def features(self, x):
        if self.training and not self.done:
            with torch.no_grad():
                self.shift.copy_(x.mean(0))
                self.done.fill_(True)
        return self.net(x - self.shift)


class Dropout(Guide):
    def features(self, x):
        return self.net(torch.dropout(x, 0.5, self.training))


class Keeps(Guide):
    def features(self, x):
        self.last = self.net(x).detach()
        self.mean = self.last.mean().item()
        return self.net(x)


class KeepsMore(Guide):
    """Values that cannot be copied, since they have a history, and containers that a recording must leave alone."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []
        self.net.seen = self.seen

    def features(self, x):
        self.last = self.net(x)
        self.seen[:] = [*self.seen, self.last.mean()]
        return self.last


class HoldsTheModel(Guide):
    """Uses a half of the pair that is no submodule of it, as semi-amortised guides do."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.held = (model,)

    def features(self, x):
        return self.net(x) + self.held[0].net[2].bias.mean()


class Closure(Guide):
    def __init__(self) -> None:
        super().__init__()
        self.net_of = lambda x: self.net(x)

    def features(self, x):
        return self.net_of(x)


class Sentinel(Guide):
    """A copy of it would be another program: it compares by identity."""

    def __init__(self) -> None:
        super().__init__()
        self.unset = self.scale = object()
        self.known = {id(self): 2.0}

    def features(self, x):
        assert self.scale is self.unset
        return self.known[id(self)] * self.net(x)


class CopiesAreItself(Guide):
    def __deepcopy__(self, memo):
        return self


class CountsByClosure(Guide):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.count = lambda: self.seen.add_(1.0)

    def features(self, x):
        self.count()
        return self.net(x) / self.seen


class CountsInANumber(Guide):
    """Warms up by a number of its own, which a graph would keep."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def features(self, x):
        self.calls += 1
        return self.net(x) * min(1.0, self.calls / 3)


class CountsInADictionary(Guide):
    def __init__(self) -> None:
        super().__init__()
        self.state = {"calls": 0.0}

    def features(self, x):
        self.state["calls"] += 1.0
        return self.net(x) * (1.0 if self.state["calls"] > 3 else 0.5)


class DrawsByPython(Guide):
    """Word dropout, say."""

    def features(self, x):
        return self.net(x * (random.random() < 0.5))


class DrawsByNumPy(Guide):
    def features(self, x):
        return self.net(x * np.random.rand())


class HiddenParameter(Guide):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = (self.net[0].weight,)

    def features(self, x):
        return self.net(x) + self.hidden[0].sum()


class HiddenView(HiddenParameter):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = (self.net[0].weight.t(),)


def make(guide: type[nn.Module], elbo=Trace_ELBO) -> CompiledELBO:
    torch.manual_seed(0)
    return CompiledELBO(ELBOWithTerms(elbo(), Model(), guide()), backend="eager").train()


def step(module: CompiledELBO, x: torch.Tensor, seed: int):
    """Loss, terms, gradients and buffers of a step, which moves the parameters a little."""
    set_seed(seed)
    module.zero_grad()
    with pyro.validation_enabled(False):
        loss, terms = module(x)
    loss.backward()
    gradients = {name: p.grad for name, p in module.eager.named_parameters()}
    found = copy.deepcopy((loss.detach(), tuple(terms), gradients, dict(module.eager.named_buffers())))
    with torch.no_grad():
        for p in module.parameters():
            if p.grad is not None:
                p -= 0.01 * p.grad
    return found


def assert_twins(compiled: CompiledELBO, plain: CompiledELBO, between=lambda module, index: None):
    plain.enabled = False
    for index in range(5):
        torch.manual_seed(index)
        x = torch.randn(7, 5)
        for module in (compiled, plain):
            between(module, index)
        torch.testing.assert_close(step(compiled, x, index), step(plain, x, index))


RECORDED = [Guide, LayerTwice, BatchNorm, RunningMean, Counter, InitialisesItself, Dropout, Keeps, KeepsMore]
RECORDED += [Closure, Sentinel, CopiesAreItself, CountsByClosure]


@pytest.mark.parametrize("guide", RECORDED)
def test_compiled_programs_take_the_steps_of_their_twins(guide):
    compiled = make(guide)
    kept = dict(compiled.named_parameters())
    assert_twins(compiled, make(guide))
    assert compiled._compiler.graph is not None
    assert all(value is kept[name] for name, value in compiled.named_parameters())
    assert all(type(value) is nn.Parameter for part in compiled.modules() for value in part._parameters.values())


@pytest.mark.parametrize("guide", [BatchNorm, RunningMean, Counter, InitialisesItself])
def test_compiled_programs_move_their_buffers_once_though_the_guide_runs_twice(guide):
    compiled = make(guide, DReG)
    assert_twins(compiled, make(guide, DReG))
    assert compiled._compiler.graph is not None


@pytest.mark.parametrize("elbo", [STL, DReG])
@pytest.mark.parametrize("guide", [BatchNorm, RunningMean, AssignedMean, Counter, InitialisesItself])
def test_both_passes_of_a_held_guide_see_the_same_buffers(guide, elbo):
    """The bound's value and the buffers after it are those of an objective that runs the guide once."""
    x, found = torch.randn(7, 5), []
    for module in (make(guide, elbo), make(guide, partial(RenyiELBO, float(elbo is STL), elbo().num_particles))):
        module.enabled = False
        set_seed(1)
        loss, terms = module(x)
        loss.backward()
        found.append((loss.detach(), tuple(terms), dict(module.eager.guide.named_buffers())))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("compiles", [False, True])
def test_terms_that_run_a_network_again_do_not_move_its_buffers(compiles):
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.out = nn.BatchNorm1d(2), nn.Linear(2, 4)

        def forward(self, z):
            return self.out(self.norm(z)).chunk(2, -1)

    module = make(Guide)
    module.enabled = compiles
    flow = Flow([MaskedCoupling(alternating(2), Normalised())], 2)
    module.eager.model = VAE(flow, nn.Sequential(nn.Linear(2, 6), nn.Unflatten(-1, (1, 2, 3))))
    module.eager.guide = OfImages(Guide(6))
    norm = flow.transforms[0].conditioner.norm
    for step_ in range(1, 4):
        step(module.train(), torch.rand(7, 1, 2, 3).round(), step_)
        assert norm.num_batches_tracked == step_
    assert (module._compiler.graph is not None) == compiles


FOLLOWED_BY_NO_GRAPH = [AssignedMean, CumulativeBatchNorm]
FOLLOWED_BY_NO_GRAPH += [CountsInANumber, CountsInADictionary, DrawsByPython, DrawsByNumPy]


@pytest.mark.parametrize("guide", FOLLOWED_BY_NO_GRAPH)
def test_programs_that_no_graph_can_follow_run_without(guide):
    compiled = make(guide)
    with pytest.warns(UserWarning, match="without compilation"):
        assert_twins(compiled, make(guide))
    assert compiled._compiler.graph is None


def test_a_function_that_counts_its_calls_is_not_recorded():
    """Its count is nowhere that a recording could look, so what is recorded is compared with a second recording."""
    calls = itertools.count(1)
    compiled = make(Guide)
    compiled.eager.guide.features = lambda x: compiled.eager.guide.net(x) / next(calls)
    with pytest.warns(UserWarning, match="something else at every call"):
        step(compiled, torch.randn(7, 5), 0)


def test_an_objective_that_counts_its_calls_is_not_recorded():
    class Warmed(Trace_ELBO):
        calls = 0

        def differentiable_loss(self, model, guide, *data):
            self.calls += 1
            return super().differentiable_loss(model, guide, *data) * min(1.0, self.calls / 3)

    def warmed() -> CompiledELBO:
        compiled = make(Guide, Warmed)
        compiled.eager.elbo.calls = 0
        return compiled

    with pytest.warns(UserWarning, match="calls of Warmed changes"):
        assert_twins(warmed(), warmed())


@pytest.mark.parametrize("constant", [torch.nan, 2.0, True, 2j], ids=str)
def test_constants_that_stay_are_recorded(constant):
    compiled = make(Guide)
    compiled.eager.guide.features = lambda x: compiled.eager.guide.net(x) * torch.tensor([constant]).isfinite()
    step(compiled, torch.randn(7, 5), 0)
    assert compiled._compiler.graph is not None


def test_what_a_recording_appends_is_no_value_of_the_program():
    compiled = make(KeepsMore)
    compiled.eager(torch.randn(7, 5))
    step(compiled, torch.randn(7, 5), 0)
    assert compiled._compiler.graph is not None
    assert len(compiled.eager.guide.seen) == 1


def test_a_guide_that_holds_the_model_trains_it_too():
    def pair() -> CompiledELBO:
        torch.manual_seed(0)
        model = Model()
        return CompiledELBO(ELBOWithTerms(Trace_ELBO(), model, HoldsTheModel(model)), backend="eager").train()

    compiled = pair()
    assert_twins(compiled, pair())
    assert compiled._compiler.graph is not None


@pytest.mark.parametrize("guide", [HiddenParameter, HiddenView])
def test_parameters_held_elsewhere_are_not_recorded_as_constants(guide):
    compiled = make(guide)
    with pytest.warns(UserWarning, match="without compilation: .*guide.net.0.weight is also held outside"):
        assert_twins(compiled, make(guide))
    assert compiled._compiler.graph is None


def test_an_objective_that_reads_its_progress_by_a_closure_is_annealed():
    class Closes(BetaELBO):
        def __init__(self) -> None:
            super().__init__(beta=2.0)
            self.reads = lambda: self.annealed()

        def bound(self, model, guide, *data):
            terms = elbo_terms(*draw_traces(model, guide, *data))
            return -terms.reconstruction - self.reads() * terms.kl

    compiled, plain = make(Guide, Closes), make(Guide, Closes)
    plain.enabled = False

    def anneal(module, index):
        module.eager.elbo.beta = float(index)

    assert_twins(compiled, plain, anneal)
    assert compiled._compiler.graph is not None


def freeze(module, index):
    if index == 3:
        module.eager.guide.net[0].requires_grad_(False)


def unfreeze(module, index):
    module.eager.guide.net[0].requires_grad_(index >= 3)


def replace(module, index):
    if index == 3:
        torch.manual_seed(9)
        module.eager.model.net[2] = nn.Linear(6, 5)


def assign(module, index):
    if index == 3:
        state = {name: 2 * value for name, value in module.eager.state_dict().items()}
        module.eager.load_state_dict(state, assign=True)


def evaluate(module, index):
    if index == 3:
        module.eager.guide.eval()


@pytest.mark.parametrize("change", [freeze, unfreeze, replace, assign, evaluate])
def test_a_changed_module_is_noticed(change):
    guide = Dropout if change is evaluate else Guide
    with pytest.warns(UserWarning, match="were changed"):
        assert_twins(make(guide), make(guide), change)


def load(module, index):
    module.eager.load_state_dict({name: 1.1 * value for name, value in module.eager.state_dict().items()})


def test_weights_that_are_loaded_are_used():
    compiled = make(Guide)
    assert_twins(compiled, make(Guide), load)
    assert compiled._compiler.graph is not None


def test_a_batch_that_needs_a_gradient_gets_it():
    module = make(Guide)
    step(module, torch.randn(7, 5), 0)
    x = torch.randn(7, 5, requires_grad=True)
    module(x)[0].backward()
    assert x.grad.abs().sum() > 0


def test_gradients_are_taken_once_and_not_differentiated():
    module = make(Guide)
    step(module, torch.randn(7, 5), 0)
    loss, _ = module(torch.randn(7, 5))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="taken once"):
        loss.backward()
    parameters = [p for p in module.parameters() if p.requires_grad]
    loss, _ = module(torch.randn(7, 5))
    with pytest.raises(RuntimeError, match="no gradient itself"):
        torch.autograd.grad(loss, parameters, create_graph=True)


class InTheStore(Guide):
    def features(self, x):
        return self.net(x) + pyro.param("bias", torch.zeros(4))


def test_parameters_in_the_store_alone_are_not_recorded():
    module = make(InTheStore)
    with pytest.warns(UserWarning, match="bias is in Pyro's store alone"):
        step(module, torch.randn(7, 5), 0)
    assert module._compiler.graph is None


class Registers(Guide):
    def forward(self, x):
        pyro.module("guide", self)
        super().forward(x)


def test_parameters_that_are_registered_are_those_of_the_module():
    compiled = make(Registers)
    assert_twins(compiled, make(Registers))
    assert compiled._compiler.graph is not None
