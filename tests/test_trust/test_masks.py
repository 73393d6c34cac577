"""Weights come with masks, which must not turn a density into something else."""

import copy

import pytest
import torch
from torch import nn

from inference.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from pyro_models import AutoregressivePixels, IAFGuide, MLPEncoder, ZukoFlow
from pyro_models.masks import dependences

SHAPE = (1, 2, 2)
PARTS = {
    "neighbours": lambda: AutoregressivePixels(SHAPE, sight=2),
    "neighbours with a hidden layer": lambda: AutoregressivePixels(SHAPE, hidden=[8]),
    "inverse autoregressive guide": lambda: IAFGuide(MLPEncoder(SHAPE, [8]), 3, hidden=[5]),
    **{kind: lambda kind=kind: ZukoFlow(3, kind, hidden=[8, 8], context=2) for kind in ("MAF", "NSF", "NAF", "BPF")},
}


def masks_of(state):
    return [name for name in state if name.endswith(".mask")]


@pytest.fixture(params=PARTS.values(), ids=PARTS.keys())
def part(request):
    torch.manual_seed(0)
    return request.param()


def test_masks_that_show_more_are_refused(part):
    own = copy.deepcopy(part.state_dict())
    for name in masks_of(own):
        state = {**own, name: torch.ones_like(own[name])}
        for reader in (part, copy.deepcopy(part)):
            with pytest.raises(ValueError, match=r"masks would let output \d+ see input \d+"):
                reader.load_state_dict(state)
            assert any(not layer.mask.any() for layer in reader.modules() if hasattr(layer, "mask"))


def test_own_masks_and_those_that_show_less_are_taken(part):
    part.load_state_dict(copy.deepcopy(part.state_dict()))
    state = copy.deepcopy(part.state_dict())
    for name in masks_of(state):
        state[name][0] = 0
    part.load_state_dict(state)
    assert all(torch.equal(part.state_dict()[name], state[name]) for name in masks_of(state))


def test_masks_for_hidden_units_in_another_order_are_taken():
    pixels = AutoregressivePixels(SHAPE, hidden=[8])
    first, last = (f"net.{i}.mask" for i in (0, 2))
    state, turned = pixels.state_dict(), torch.arange(7, -1, -1)
    seen = dependences(pixels.net)
    pixels.load_state_dict({**state, first: state[first][turned], last: state[last][:, turned]})
    assert torch.equal(dependences(pixels.net), seen)


def test_an_order_of_coordinates_that_is_not_that_of_the_masks_is_refused():
    guide = PARTS["inverse autoregressive guide"]()
    state = copy.deepcopy(guide.state_dict())
    name = "layers.1.nn.permutation"
    with pytest.raises(ValueError, match="order of coordinates"):
        guide.load_state_dict({**state, name: torch.zeros_like(state[name])})
    assert torch.equal(guide.state_dict()[name], state[name])


def test_a_checkpoint_with_such_masks_is_refused(tmp_path):
    pixels, guide = PARTS["neighbours"](), nn.Module()
    optimizer = torch.optim.Adam(pixels.parameters())
    save_checkpoint(tmp_path / "file", pixels, guide, optimizer)
    load_checkpoint(tmp_path / "file", pixels, guide)
    pixels.net[0].mask.fill_(True)
    save_checkpoint(tmp_path / "file", pixels, guide, optimizer)
    with pytest.raises(CheckpointError, match="would not be a density"):
        load_checkpoint(tmp_path / "file", PARTS["neighbours"](), guide)
