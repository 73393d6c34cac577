"""Plain functions with pyro.param and pyro.module train to the numbers of the same pair as modules."""

import copy
import signal
import warnings
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Predictive
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints
from vector_pairs import SIZE, Nothing, vectors

from inference import (
    STL,
    CompiledELBO,
    DReG,
    ELBOWithTerms,
    Interrupted,
    Run,
    Settings,
    Trace_ELBO,
    check_pair,
    diagnose,
    fit,
    log_weights,
    negative_bounds,
    set_seed,
)
from inference.programs.functions import FunctionModule, as_modules

TRAIN, TEST = vectors(60), vectors(20, seed=1)
QUICK = Settings(epochs=3, batch_size=16, lr=0.01, device="cpu", compile="off")


def networks() -> tuple[nn.Module, nn.Module]:
    """A decoder and an encoder with dropout, running statistics, and names with dots."""
    set_seed(0)
    decoder = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, SIZE))
    encoder = nn.Sequential(nn.Linear(SIZE, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 4))
    return decoder, encoder


class Model(PyroModule):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.scale = PyroParam(torch.full((SIZE,), 2.0), constraints.positive)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), self.scale).to_event(1), obs=x)


class Guide(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        loc, log_scale = self.encoder(x).chunk(2, dim=-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def modules():
    decoder, encoder = networks()
    return Model(decoder), Guide(encoder)


def functions():
    decoder, encoder = networks()

    def model(x):
        net = pyro.module("decoder", decoder)
        scale = pyro.param("noise.scale", torch.full((SIZE,), 2.0), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(net(z), scale).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        loc, log_scale = encoder(x).chunk(2, dim=-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    return model, guide


class Tutorial(nn.Module):
    """The style of Pyro's tutorial on the VAE: https://pyro.ai/examples/vae.html."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.encoder = networks()

    def model(self, x):
        pyro.module("decoder", self.decoder)
        scale = pyro.param("scale", lambda: torch.full((SIZE,), 2.0), constraint=constraints.positive)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("latent", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("obs", dist.Normal(self.decoder(z), scale).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.encoder(x).chunk(2, dim=-1)
            pyro.sample("latent", dist.Normal(loc, log_scale.exp()).to_event(1))


def tutorial():
    vae = Tutorial()
    return vae.model, vae.guide


def without_time(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize("objective", [Trace_ELBO, STL, DReG])
@pytest.mark.parametrize("make", [functions, tutorial])
def test_functions_train_to_the_numbers_of_modules(make, objective):
    settings = replace(QUICK, num_validation=10)
    expected = fit(*modules(), TRAIN, TEST, settings, objective(), show=None)
    pair = make()
    set_seed(5)  # whatever state the generators are in
    assert without_time(fit(*pair, TRAIN, TEST, settings, objective(), show=None)) == without_time(expected)


@pytest.mark.parametrize("make", [functions, tutorial])
def test_compiled_steps_of_functions_are_those_of_modules(make):
    found = []
    for pair in (modules(), as_modules(*make(), TRAIN)):
        step = CompiledELBO(ELBOWithTerms(Trace_ELBO(), *pair), backend="eager").train()
        optimizer = torch.optim.SGD(step.parameters(), 0.01)
        losses = []
        for number in range(4):
            set_seed(number)
            optimizer.zero_grad()
            loss, _ = step(TRAIN.observe())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert step._compiler.graph is not None
        assert step._compiler.graph.calls == 3  # all but the first, in which a counter of batches is found out
        found.append((losses, [buffer.clone() for buffer in step.buffers()]))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_everything_measures_the_trained_functions_from_the_store():
    trained, guide = modules()
    rows = fit(trained, guide, TRAIN, TEST, QUICK, show=None)
    assert rows
    pair = functions()
    fit(*pair, TRAIN, TEST, QUICK, show=None)
    assert torch.equal(pyro.param("noise.scale"), trained.scale)
    x, draws = TEST.observe(), 20
    for measured in (
        lambda pair: (set_seed(0), log_weights(*pair, x, draws))[1],
        lambda pair: negative_bounds(*pair, TEST, (1, 5), repeats=2),
        lambda pair: diagnose(*pair, TEST, num_samples=20),
    ):
        assert str(measured(pair)) == str(measured((trained.train(), guide.train())))
    drawn = Predictive(pair[0], guide=pair[1], num_samples=3)(x)
    assert drawn["z"].shape[-2:] == (len(x), 2)


@pytest.mark.parametrize("how", ["interrupted", "failed"])
def test_the_store_holds_the_values_of_a_run_that_ends_early(how):
    calls = []

    def model(x):
        loc = pyro.param("loc", torch.zeros(SIZE))
        calls.append(1)
        if len(calls) == 12:
            if how == "failed":
                raise RuntimeError("enough")
            signal.raise_signal(signal.SIGINT)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    with pytest.raises((Interrupted, RuntimeError)):
        fit(model, lambda x: None, TRAIN, settings=QUICK, show=None)
    assert pyro.param("loc").detach().norm() > 0


def test_training_starts_from_the_store_and_moves_its_tensors():
    start = torch.tensor([1.0, 2.0, 3.0])
    held = pyro.param("scale", start.clone(), constraint=constraints.positive).unconstrained()
    other = pyro.param("other", torch.zeros(2))

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(torch.zeros(SIZE), pyro.param("scale")).to_event(1), obs=x)

    fit(model, lambda x: None, TRAIN, settings=replace(QUICK, epochs=1, lr=1e-30), show=None)
    torch.testing.assert_close(pyro.param("scale").detach(), start)
    fit(model, lambda x: None, TRAIN, settings=QUICK, show=None)
    assert pyro.param("scale").unconstrained() is held
    assert not torch.equal(pyro.param("scale").detach(), start)
    assert torch.equal(pyro.param("other"), other)
    assert (pyro.param("scale") > 0).all()


def test_two_functions_share_a_parameter_by_its_name():
    def model(x):
        shift = pyro.param("shift", torch.zeros(SIZE))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(SIZE), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z + shift, 1.0).to_event(1), obs=x)

    def guide(x):
        shift = pyro.param("shift", torch.zeros(SIZE))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal((x - shift) / 2, 0.5**0.5).to_event(1))

    halves = as_modules(model, guide, TRAIN)
    first, second = ([*half.parameters()] for half in halves)
    assert len(first) == len(second) == 1
    assert first[0] is second[0]
    fit(model, guide, TRAIN, settings=replace(QUICK, epochs=60, lr=0.3), show=None)
    torch.testing.assert_close(pyro.param("shift").detach(), TRAIN.values.mean(0), rtol=0, atol=0.3)


def test_checkpoints_and_resuming(tmp_path):
    whole = functions()
    rows = fit(*whole, TRAIN, TEST, replace(QUICK, epochs=4, schedule="constant"), show=None)
    scale = pyro.param("noise.scale").detach().clone()
    pyro.clear_param_store()
    for epochs, resume in ((2, False), (4, True)):
        run = Run.open(tmp_path / "run") if resume else Run.create(tmp_path / "run", {}, {})
        pair = functions()
        settings = replace(QUICK, epochs=epochs, schedule="constant")
        again = fit(*pair, TRAIN, TEST, settings, run=run, resume=resume, show=None)
        if not resume:
            pyro.clear_param_store()
    assert without_time(again) == without_time(rows)
    assert torch.equal(pyro.param("noise.scale"), scale)


def test_names_of_all_kinds_are_kept_apart():
    names = ["a.b", "a%2Eb", "training", "forward", "requires_grad_", "a b", "net"]
    net = nn.Linear(SIZE, SIZE)

    def model(x):
        pyro.module("net", net)
        loc = sum(pyro.param(name, torch.full((SIZE,), float(index))) for index, name in enumerate(names))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(net(loc), 1.0).to_event(1), obs=x)

    module = as_modules(model, Nothing(), TRAIN)[0]
    assert isinstance(module, FunctionModule)
    assert len(module.state_dict()) == len(names) + 2
    assert [float(module.unconstrained(name)[0].detach()) for name in names] == [float(i) for i in range(len(names))]
    copied = copy.deepcopy(module)
    assert all(copied.unconstrained(name) is not module.unconstrained(name) for name in names)
    assert check_pair(model, lambda x: None, TRAIN, Trace_ELBO()) == []
    assert not pyro.get_param_store()


def test_frozen_parts_stay_as_they_are_and_out_of_the_store():
    net = nn.Sequential(nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE))
    net[0].requires_grad_(False)
    before = copy.deepcopy(net.state_dict())

    def model(x):
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(net(torch.ones(SIZE)), 1.0).to_event(1), obs=x)

    fit(model, lambda x: None, TRAIN, settings=QUICK, show=None)
    assert set(pyro.get_param_store()) == {"net$$$1.weight", "net$$$1.bias"}
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"1.weight", "1.bias"}


def test_a_trial_changes_no_statistics_and_no_mode():
    decoder, encoder = networks()
    encoder[3].eval()
    before = copy.deepcopy(encoder.state_dict())

    def guide(x):
        pyro.module("encoder", encoder)
        loc, log_scale = encoder(x).chunk(2, dim=-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    pair = Model(decoder), guide
    check_pair(*pair, TRAIN, Trace_ELBO())
    log_weights(*pair, TRAIN.observe(), 3)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert encoder.training
    assert encoder[1].training
    assert not encoder[3].training


def late(x):
    loc = pyro.param("loc", torch.zeros(SIZE))
    if len(x) == len(TRAIN) % QUICK.batch_size:
        loc = loc + pyro.param("late", torch.zeros(SIZE))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


def no_parameter(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(torch.zeros(SIZE), 1.0).to_event(1), obs=x)


def unknown(x):
    pyro.param("never given")


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (late, TRAIN, "parameter 'late' was not there when the program first ran"),
        (no_parameter, TRAIN, "nothing to train.*pyro.param and pyro.module"),
        (unknown, TRAIN, "the model unknown cannot be run on data of shape .*never given"),
        (no_parameter, replace(TRAIN, labels=torch.zeros(60).long(), conditional=True), "no_parameter takes no labels"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(model, data, message):
    with pytest.raises((ValueError, LookupError), match=message) as caught:
        fit(model, lambda x, labels=None: None, data, settings=QUICK, show=None)
    assert "\n" not in str(caught.value)


def test_parameters_that_start_from_data_see_the_first_observations():
    def model(x):
        loc = pyro.param("loc", lambda: x.mean(0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    data = vectors(300)
    still = replace(QUICK, epochs=1, lr=1e-30)
    fit(model, lambda x: None, data, settings=still, show=None)
    torch.testing.assert_close(pyro.param("loc").detach(), data.values[:200].mean(0))


OUTSIDE = nn.Linear(SIZE, SIZE)


class Methods:
    """Holds a network for its methods; of the two functions below one closes over it, one finds it outside."""

    def __init__(self):
        self.net = nn.Linear(SIZE, SIZE)

    def program(self, x, net=None):
        loc = pyro.param("loc", torch.zeros(SIZE))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal((net or self.net)(loc), 1.0).to_event(1), obs=x)


def uses_outside(x):
    Methods().program(x, OUTSIDE)


def test_modules_that_are_not_registered_are_named():
    inside, unused = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def closes_over(x):
        unused.eval()
        Methods().program(x, inside)

    def registers(x):
        Methods().program(x, pyro.module("inside", inside))

    for program, name in ((Methods().program, "net"), (uses_outside, "OUTSIDE"), (closes_over, "inside")):
        with pytest.warns(UserWarning, match=rf"^module '{name}' is not trained: pyro.module\('{name}', {name}\)"):
            check_pair(program, lambda x: None, TRAIN, Trace_ELBO())
    with warnings.catch_warnings(action="error"):
        check_pair(registers, lambda x: None, TRAIN, Trace_ELBO())
        check_pair(*tutorial(), TRAIN, Trace_ELBO())
        inside.requires_grad_(False)
        check_pair(closes_over, lambda x: None, TRAIN, Trace_ELBO())


def test_a_function_of_unregistered_modules_alone_has_nothing_to_train():
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(OUTSIDE(torch.zeros(SIZE)), 1.0).to_event(1), obs=x)

    with pytest.warns(UserWarning, match="OUTSIDE"), pytest.raises(ValueError, match="nothing to train"):
        check_pair(model, lambda x: None, TRAIN, Trace_ELBO())
