"""Transforms of any size, mask and depth, and against Pyro's own coupling."""

import pyro.distributions.transforms as pyro_transforms
import pytest
import torch
from conftest import randomise
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd.functional import jacobian

from pyro_models import MLP, AffineCoupling, MaskedCoupling, Squeeze, flip_realnvp, masked_realnvp

pytestmark = pytest.mark.usefixtures("float64")

quick = settings(max_examples=25, deadline=None, derandomize=True)  # the same cases on every machine
seeds = st.integers(0, 2**31)


@quick
@given(half=st.integers(1, 6), layers=st.integers(0, 3), swap=st.booleans(), seed=seeds)
def test_couplings_of_any_size_and_depth(half, layers, swap, seed):
    torch.manual_seed(seed)
    coupling = randomise(AffineCoupling(MLP(half, (half, half), [5] * layers), swap=swap))
    x = torch.randn(2 * half)
    y, log_det = coupling.forward_and_log_det(x)
    back, inverse = coupling.inverse_and_log_det(y)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(log_det, -inverse, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian(coupling, x)).logabsdet, rtol=0, atol=1e-9)


@quick
@given(
    mask=st.lists(st.integers(0, 1), min_size=2, max_size=9).filter(lambda m: 0 < sum(m) < len(m)),
    divided=st.booleans(),
    seed=seeds,
)
def test_couplings_under_any_mask(mask, divided, seed):
    torch.manual_seed(seed)
    size = len(mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskedCoupling, "shortest_divided", 2 if divided else 10)
        coupling = randomise(MaskedCoupling(torch.tensor(mask), MLP(size, (size, size), [5])))
    assert bool(coupling.parts) == divided
    x = torch.randn(size)
    y, log_det = coupling.forward_and_log_det(x)
    assert torch.equal(y[torch.tensor(mask).bool()], x[torch.tensor(mask).bool()])
    torch.testing.assert_close(coupling.inv(y), x, rtol=0, atol=1e-8)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian(coupling, x)).logabsdet, rtol=0, atol=1e-9)


@quick
@given(channels=st.integers(1, 3), height=st.integers(1, 4), width=st.integers(1, 4), batch=st.integers(0, 3))
def test_squeezing_images_of_any_size(channels, height, width, batch):
    x = torch.randn(batch, channels, 2 * height, 2 * width)
    y = Squeeze()(x)
    assert y.shape == (batch, 4 * channels, height, width)
    assert torch.equal(Squeeze().inv(y), x)
    assert torch.equal(y.flatten(1).sort(-1).values, x.flatten(1).sort(-1).values)


@quick
@given(
    half=st.integers(1, 5), depth=st.integers(2, 5), make=st.sampled_from([flip_realnvp, masked_realnvp]), seed=seeds
)
def test_flows_of_any_size_and_depth(half, depth, make, seed):
    torch.manual_seed(seed)
    number = {"pairs": depth} if make is flip_realnvp else {"layers": depth}
    flow = randomise(make((2 * half,), hidden=[6], **number), 0.15)()
    epsilon = torch.randn(3, 2 * half)
    y = flow.from_base(epsilon)
    back, log_det = flow.to_base(y)
    torch.testing.assert_close(back, epsilon, rtol=0, atol=1e-6)
    torch.testing.assert_close(flow.log_prob(y), flow.base_dist.log_prob(epsilon) + log_det, rtol=0, atol=1e-6)


def test_equals_pyros_coupling_with_the_same_weights():
    network = randomise(MLP(3, (3, 3), [8]), 0.2)

    class ShiftFirst(nn.Module):
        """Pyro's coupling takes (shift, log scale)."""

        def forward(self, x):
            raw, shift = network(x)
            return shift, raw

    ours, theirs = AffineCoupling(network, bound=None), pyro_transforms.AffineCoupling(3, ShiftFirst())
    x = torch.randn(20, 6)
    y = theirs(x)
    torch.testing.assert_close(ours(x), y)
    torch.testing.assert_close(ours.log_abs_det_jacobian(x, y), theirs.log_abs_det_jacobian(x, y))
    torch.testing.assert_close(ours.inv(y), theirs.inv(y))
