"""Couplings that compute a part of their network have the values and gradients of the masked formula."""

import copy

import pytest
import torch
from conftest import randomise
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from inference import CompiledELBO, ELBOWithTerms, Trace_ELBO
from pyro_models import (
    MLP,
    DensityModel,
    FlowPrior,
    MaskedCoupling,
    NoLatents,
    alternating,
    vector_realnvp,
)

pytestmark = pytest.mark.usefixtures("float64")

CONTEXT = 3
MASKS = {
    "even places": alternating(64),
    "odd places": alternating(64, odd=True),
    "even places of an odd number": alternating(65),
    "odd places of an odd number": alternating(65, odd=True),
    "first half": torch.arange(64) < 32,
    "last half": torch.arange(64) >= 32,
    "middle": (torch.arange(64) - 30).abs() < 12,
    "one of three": torch.arange(66) % 3 == 1,
    "random": torch.rand(64, generator=torch.Generator().manual_seed(0)) < 0.5,
    "one is kept": torch.arange(64) == 17,
    "one is transformed": torch.arange(64) != 17,
    "the last is kept": torch.arange(64) == 63,
}
SHAPES = {"a vector": (), "a batch": (5,), "particles": (2, 5)}


def formula(coupling: MaskedCoupling, x: Tensor, *context: Tensor) -> tuple[Tensor, ...]:
    """y = f(x), x = f^-1(x) and their log-determinants, by the whole network."""
    kept = coupling.mask
    raw, shift = coupling.conditioner(torch.where(kept, x, 0.0), *context)
    s = raw if coupling.bound is None else coupling.bound * torch.tanh(raw / coupling.bound)
    s, shift = torch.where(kept, 0.0, s), torch.where(kept, 0.0, shift)
    return x * s.exp() + shift, s.sum(-1), (x - shift) * (-s).exp(), -s.sum(-1)


def found(coupling: MaskedCoupling, x: Tensor, *context: Tensor) -> tuple[Tensor, ...]:
    return *coupling.forward_and_log_det(x, *context), *coupling.inverse_and_log_det(x, *context)


def in_parts(monkeypatch) -> None:
    """Let no perceptron be called as a whole from now on."""

    def called(*_: Tensor) -> None:
        raise AssertionError("the whole network is called")

    monkeypatch.setattr(MLP, "forward", called)


def gradients(values: tuple[Tensor, ...], of: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(sum(value.pow(3).sum() for value in values), of)


@pytest.mark.parametrize("hidden", [[], [7], [7, 6]], ids=str)
@pytest.mark.parametrize("context", [0, CONTEXT])
@pytest.mark.parametrize("mask", MASKS)
def test_values_and_gradients_are_those_of_the_formula(mask, context, hidden, monkeypatch):
    size = len(MASKS[mask])
    coupling = randomise(MaskedCoupling(MASKS[mask], MLP(size + context, (size, size), hidden), 1.5), 0.2)
    x = torch.randn(5, size, requires_grad=True)
    given = [torch.randn(5, context, requires_grad=True)] if context else []
    of = [x, *given, *coupling.parameters()]
    expected = formula(coupling, x, *given)
    expected += gradients(expected, of)
    in_parts(monkeypatch)
    values = found(coupling, x, *given)
    values += gradients(values, of)
    torch.testing.assert_close(values, expected, rtol=1e-11, atol=1e-11)
    for value, other in zip(values[4:], expected[4:], strict=True):
        assert torch.equal(value == 0, other == 0)  # of the weights that have no effect, exactly zero
    assert torch.equal(values[0][:, coupling.mask], x[:, coupling.mask])


@pytest.mark.parametrize("mask", ["even places", "odd places of an odd number", "random"])
@pytest.mark.parametrize("shape", SHAPES)
def test_leading_dimensions_and_contexts_that_lack_some(mask, shape, monkeypatch):
    size = len(MASKS[mask])
    coupling = randomise(MaskedCoupling(MASKS[mask], MLP(size + CONTEXT, (size, size), [7]), None), 0.1)
    x, context = torch.randn(*SHAPES[shape], size), torch.randn(*SHAPES[shape][-1:], CONTEXT)
    expected = formula(coupling, x, context)
    in_parts(monkeypatch)
    torch.testing.assert_close(found(coupling, x, context), expected)
    if shape == "a vector":  # and one that has more
        context = context.expand(4, CONTEXT)
        assert found(coupling, x, context)[0].shape == (4, size)


def test_dropout_draws_the_same_units(monkeypatch):
    coupling = randomise(MaskedCoupling(MASKS["random"], MLP(64, (64, 64), [20, 20], dropout=0.5))).train()
    x = torch.randn(5, 64)
    torch.manual_seed(1)
    expected = formula(coupling, x)[:2]
    in_parts(monkeypatch)
    torch.manual_seed(1)
    torch.testing.assert_close(coupling.forward_and_log_det(x), expected)


@pytest.mark.parametrize("mask", ["even places", "random"])
def test_single_precision_and_autocast(mask, monkeypatch):
    coupling = randomise(MaskedCoupling(MASKS[mask], MLP(64, (64, 64), [32])), 0.1)
    x = torch.randn(20, 64)
    exact = formula(coupling, x)
    coupling, x = coupling.float(), x.float()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = formula(coupling, x)
    in_parts(monkeypatch)
    torch.testing.assert_close([v.double() for v in found(coupling, x)], list(exact), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        values = found(coupling, x)
    for value, other, right in zip(values, rounded, exact, strict=True):
        assert value.dtype == torch.float32
        assert (value - right).abs().max() < 2 * (other - right).abs().max()


@pytest.mark.parametrize(("flow", "size"), [(vector_realnvp, 64), (vector_realnvp, 65), (FlowPrior, 64)])
def test_steps_of_training_are_those_of_the_formula(flow, size, monkeypatch):
    """Eager and recorded, under weight decay, which also moves weights without a gradient."""
    x, flow = torch.randn(9, size), randomise(flow(size, 2, [8]), 0.1)
    models = [DensityModel(copy.deepcopy(flow)) for _ in range(3)]
    for coupling in models[0].modules():
        if isinstance(coupling, MaskedCoupling):
            coupling.parts = nn.ModuleList()  # computes the formula
    steps = [ELBOWithTerms(Trace_ELBO(), model, NoLatents()).train() for model in models]
    losses = []
    for step in (*steps[:2], CompiledELBO(steps[2], backend="eager").train()):
        optimizer = torch.optim.AdamW(step.parameters(), 1e-2, weight_decay=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            loss = step(x)[0]
            loss.backward()
            optimizer.step()
        losses.append(loss)
        in_parts(monkeypatch)
    torch.testing.assert_close(losses[1:], 2 * losses[:1], rtol=1e-9, atol=0)
    for model in models[1:]:
        torch.testing.assert_close(list(model.parameters()), list(models[0].parameters()), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("mask", MASKS)
def test_weights_are_initialised_and_saved_as_before(mask):
    size = len(MASKS[mask])
    torch.manual_seed(3)
    network, drawn = MLP(size, (size, size), [7]), torch.rand(3)
    torch.manual_seed(3)
    coupling = MaskedCoupling(MASKS[mask], MLP(size, (size, size), [7]))
    assert torch.equal(torch.rand(3), drawn)
    saved = {f"conditioner.{name}": value for name, value in network.state_dict().items()}
    assert list(coupling.state_dict()) == list(saved)
    for name, value in coupling.state_dict().items():
        assert torch.equal(value, saved[name])
    randomise(coupling).load_state_dict(saved)
    x = torch.randn(4, size)
    torch.testing.assert_close(found(coupling, x), formula(coupling, x))


class Doubled(MLP):
    def forward(self, x, context=None):
        return [2 * value for value in super().forward(x, context)]


def pruned() -> MLP:
    network = MLP(64, (64, 64), [7])
    prune.random_unstructured(network.trunk[0], "weight", 0.5)
    return network


def normalised() -> MLP:
    network = MLP(64, (64, 64), [7])
    network.out = weight_norm(network.out)
    return network


def hooked() -> MLP:
    network = MLP(64, (64, 64), [7])
    network.register_forward_hook(lambda _, inputs, outputs: (outputs[0], outputs[1] + 1))
    return network


def preceded() -> MLP:
    network = MLP(64, (64, 64), [7])
    network.trunk.insert(0, nn.LayerNorm(64))
    return network


def without_bias() -> MLP:
    network = MLP(64, (64, 64), [7])
    network.out = nn.Linear(7, 128, bias=False)
    return network


@pytest.mark.parametrize(
    "make", [lambda: Doubled(64, (64, 64), [7]), pruned, normalised, hooked, preceded, without_bias]
)
def test_a_network_that_does_more_than_its_layers_is_called(make):
    coupling, x = MaskedCoupling(MASKS["even places"], make()), torch.randn(5, 64)
    torch.testing.assert_close(found(coupling, x), formula(coupling, x), rtol=0, atol=0)


def test_wrong_sizes_are_refused_as_by_the_whole_network():
    for network in (MLP(64, (64, 32)), MLP(64, 128), MLP(64, (64, 64, 64)), MLP(64, 64)):
        with pytest.raises(ValueError, match="the conditioner must return"):
            MaskedCoupling(alternating(64), network)(torch.zeros(64))
    coupling = MaskedCoupling(alternating(64), MLP(64 + CONTEXT, (64, 64)))
    for context in ([], [torch.zeros(CONTEXT + 1)]):
        with pytest.raises(RuntimeError, match="shapes|split"):
            coupling.forward_and_log_det(torch.zeros(64), *context)
    coupling = MaskedCoupling(alternating(64), MLP(64, (64, 64), [7]))
    coupling.conditioner.out = nn.Linear(7, 3 * 64)
    with pytest.raises(RuntimeError, match="split"):
        coupling(torch.zeros(64))


def test_short_vectors_and_images_are_not_divided():
    assert not MaskedCoupling(alternating(63), MLP(63, (63, 63))).parts
    assert not MaskedCoupling(torch.eye(64), nn.Identity()).parts
