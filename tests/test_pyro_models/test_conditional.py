"""Flows of images given their labels."""

import copy
import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import randomise
from pyro.infer import Predictive, Trace_ELBO
from torch.autograd.functional import jacobian

from inference import iwae_bound, log_weights
from pyro_models import (
    MLP,
    AffineCoupling,
    Flip,
    Flow,
    FlowModel,
    UniformDequantizer,
    flip_realnvp,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
)

pytestmark = pytest.mark.usefixtures("float64")

SHAPE = (1, 2, 4)
CLASSES = 3
FLOWS = {
    "flip": lambda **options: flip_realnvp(SHAPE, hidden=[8], **options),
    "flip, separate networks": lambda **options: flip_realnvp(SHAPE, hidden=[8], separate=True, **options),
    "masked": lambda **options: masked_realnvp(SHAPE, hidden=[8], **options),
    "image": lambda **options: image_realnvp(SHAPE, channels=8, blocks=1, **options),
    "multi-scale": lambda **options: multiscale_realnvp((1, 4, 4), scales=2, channels=4, blocks=1, **options),
}


@pytest.fixture(params=FLOWS)
def flow(request) -> Flow:
    return randomise(FLOWS[request.param](context=CLASSES), 0.2).eval()


def contexts() -> torch.Tensor:
    return torch.eye(CLASSES)


def test_one_distribution_for_each_context(flow):
    given = flow(contexts())
    assert given.batch_shape == (CLASSES,)
    assert given.sample().shape == (CLASSES, *given.event_shape)
    assert given.sample(torch.Size([5])).shape == (5, CLASSES, *given.event_shape)
    y = torch.rand(given.event_shape)
    log_prob = given.log_prob(y.expand(CLASSES, *y.shape))
    assert (log_prob[:, None] - log_prob).abs().masked_select(~torch.eye(CLASSES, dtype=torch.bool)).min() > 1e-3
    one_by_one = torch.stack([flow(c).log_prob(y) for c in contexts()])
    torch.testing.assert_close(log_prob, one_by_one)


def test_one_image_under_all_contexts(flow):
    """p(y | label) for every label, as for p(label | y)."""
    y = torch.rand(flow(contexts()).event_shape)
    expected = torch.stack([flow(c).log_prob(y) for c in contexts()])
    torch.testing.assert_close(flow(contexts()).log_prob(y), expected)
    torch.testing.assert_close(flow(contexts()).log_prob(y[None]), expected)
    epsilon = torch.randn(flow(contexts()).base_dist.event_shape)
    torch.testing.assert_close(
        flow(contexts()).from_base(epsilon), torch.stack([flow(c).from_base(epsilon) for c in contexts()])
    )


def test_contexts_meet_their_own_images_under_particles(flow):
    given = flow(contexts())
    y = torch.rand(4, CLASSES, *given.event_shape)
    expected = torch.stack(
        [torch.stack([flow(c).log_prob(y[s, i]) for i, c in enumerate(contexts())]) for s in range(4)]
    )
    torch.testing.assert_close(given.log_prob(y), expected)


def test_density_is_the_jacobian_of_the_way_to_the_base(flow):
    given = flow(contexts()[1])
    y = torch.rand(given.event_shape)
    epsilon, _ = given.to_base(y)
    matrix = jacobian(lambda y: given.to_base(y)[0], y).reshape(epsilon.numel(), epsilon.numel())
    base = -0.5 * epsilon.square().sum() - epsilon.numel() / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(given.log_prob(y), base + torch.linalg.slogdet(matrix).logabsdet, rtol=0, atol=1e-8)


def test_inverse_both_ways(flow):
    given = flow(contexts())
    epsilon = torch.randn(6, CLASSES, *given.base_dist.event_shape)
    torch.testing.assert_close(given.to_base(given.from_base(epsilon))[0], epsilon, rtol=0, atol=1e-7)


def test_every_parameter_gets_a_gradient(flow):
    flow(contexts()).log_prob(torch.rand(20, CLASSES, *flow(contexts()).event_shape)).mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_class_is_a_flow_with_other_biases():
    """A one-hot context adds one column of the first layer's weights to its biases."""
    conditional = randomise(flip_realnvp(SHAPE, hidden=[8], context=CLASSES))
    plain = flip_realnvp(SHAPE, hidden=[8])
    y = torch.rand(10, *SHAPE)
    for label in range(CLASSES):
        state = {name.replace(".network.", "."): v.clone() for name, v in conditional.state_dict().items()}
        for name in [name for name in state if name.endswith("trunk.0.weight")]:
            bias = name.replace("weight", "bias")
            state[bias] += state[name][:, SHAPE[1] * SHAPE[2] // 2 + label]
            state[name] = state[name][:, : SHAPE[1] * SHAPE[2] // 2]
        plain.load_state_dict(state)
        given = conditional(contexts()[label].expand(10, CLASSES))
        torch.testing.assert_close(given.log_prob(y), plain().log_prob(y))


def test_probabilities_of_all_images_of_a_class_sum_to_one():
    model = FlowModel(
        randomise(flip_realnvp((2,), hidden=[8], alpha=0.0, context=CLASSES), 0.3), levels=4, num_classes=CLASSES
    )
    x = torch.tensor(list(itertools.product(range(4), repeat=2))).to(torch.get_default_dtype())
    for label in range(CLASSES):
        labels = torch.full((16,), label)
        log_w = log_weights(model, UniformDequantizer(4), x, 4000, labels=labels)
        total = iwae_bound(log_w, 4000).exp().sum()
        assert float(total) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("chunk_size", [None, 1, 4, 100])
def test_weights_are_those_of_the_given_labels_whatever_the_chunks(chunk_size):
    def guide(x, labels):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    def model(x, labels):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Delta(x, log_density=x.sum(-1) * labels, event_dim=1), obs=x)

    x, labels = torch.rand(7, 2), torch.arange(7)
    log_w = log_weights(model, guide, x, 5, chunk_size, labels)
    torch.testing.assert_close(log_w, (x.sum(-1) * labels).expand(5, 7))


def test_draws_follow_their_labels():
    model = FlowModel(flip_realnvp((2,), hidden=[8], context=2), levels=256, num_classes=2)
    first = next(module for module in model.modules() if hasattr(module, "log_scale_and_shift"))
    with torch.no_grad():  # the shift is +-3, by class alone
        net = first.conditioner
        net.trunk[0].weight.zero_()[:, -2:] = torch.tensor([10.0, 0.0])
        net.trunk[0].bias.fill_(-5.0)
        net.out.weight.zero_()[1] = 3 / 8
    labels = torch.arange(2000) % 2
    x = model(None, labels)
    assert x.shape == (2000, 2)
    differing = (x[labels == 1].mean(0) - x[labels == 0].mean(0)).abs()
    assert differing.max() > 40
    drawn = Predictive(model, num_samples=3)(None, labels)
    assert drawn["x"].shape == (3, 2000, 2)


def test_a_pair_given_labels_trains():
    model = FlowModel(randomise(flip_realnvp(SHAPE, hidden=[8], context=CLASSES), 0.1), 4, CLASSES)
    module = Trace_ELBO()(model, UniformDequantizer(4))
    x, labels = torch.randint(0, 4, (9, *SHAPE)).to(torch.get_default_dtype()), torch.arange(9) % CLASSES
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    module(x, labels).backward()
    optimizer.step()
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())


def test_a_transform_used_the_other_way_round_sees_the_context_too():
    coupling = AffineCoupling(MLP(2 + CLASSES, (2, 2), [8]))
    flow = randomise(Flow([coupling.inv, Flip()], 4, CLASSES))
    assert len(list(flow.parameters())) == len(list(coupling.parameters())) > 0
    y = torch.randn(CLASSES, 4)
    epsilon, _ = flow(contexts()).to_base(y)
    expected, _ = coupling.forward_and_log_det(y.flip(-1), contexts())
    torch.testing.assert_close(epsilon, expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "takes labels from 0 to 2; got none"),
        (torch.tensor([0, 3]), "labels must be from 0 to 2; got 0 to 3"),
        (torch.tensor([0, -1]), "labels must be from 0 to 2; got -1 to 0"),
        (torch.tensor([0.0, 1.0]), "whole numbers"),
        (torch.tensor([[0], [1]]), "shape"),
    ],
)
def test_bad_labels_are_told(labels, message):
    model = FlowModel(flip_realnvp(SHAPE, hidden=[8], context=CLASSES), 4, CLASSES)
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(2, *SHAPE), labels)


def test_missing_and_unexpected_contexts_are_told():
    with pytest.raises(ValueError, match="takes no labels"):
        FlowModel(flip_realnvp(SHAPE, hidden=[8]), 4)(torch.zeros(2, *SHAPE), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="context of size 3; got one of size 0"):
        flip_realnvp(SHAPE, hidden=[8], context=3)()
    with pytest.raises(ValueError, match="context of size 0; got one of size 2"):
        flip_realnvp(SHAPE, hidden=[8])(torch.eye(2))
    with pytest.raises(ValueError, match="at least 0"):
        flip_realnvp(SHAPE, hidden=[8], context=-1)
    with pytest.raises(ValueError, match="one label for each of 4 observations"):
        log_weights(lambda x: None, lambda x: None, torch.zeros(4, *SHAPE), 2, labels=torch.tensor([1, 2]))


def test_temperature_is_the_standard_deviation_of_the_base():
    flow = randomise(flip_realnvp(SHAPE, hidden=[8]), 0.2)
    y = torch.rand(5, *SHAPE)
    epsilon, log_det = flow().to_base(y)
    expected = torch.distributions.Normal(0.0, 0.5).log_prob(epsilon).sum(-1) + log_det
    torch.testing.assert_close(flow(temperature=0.5).log_prob(y), expected)
    with pytest.raises(ValueError, match="temperature must be a positive"):
        flow(temperature=0.0)
