"""What ``inference`` exports, and the names that it exported before."""

import importlib

import pytest
import torch

import inference
from inference import Diagnosis


def test_a_user_meets_some_forty_names():
    assert len(inference.__all__) <= 48
    assert not {*inference.__all__} & inference._DEPRECATED.keys()
    assert "write_whole" not in dir(inference)


@pytest.mark.parametrize("name", inference._DEPRECATED)
def test_a_name_from_before_works_and_says_where_it_went(name):
    module, _, now = inference._DEPRECATED[name].rpartition(".")
    with pytest.warns(DeprecationWarning, match=rf"inference.{name} is deprecated: use {now} from {module}"):
        found = getattr(inference, name)
    current = getattr(importlib.import_module(module), now)
    assert getattr(found, "__wrapped__", found) in (current, getattr(current, "__wrapped__", current))


def test_names_from_before_check_their_arguments_as_before():
    with pytest.warns(DeprecationWarning, match="inference.system.randomness"):
        from inference import epoch_order
    assert sorted(epoch_order(5, seed=0, epoch=0).tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(TypeError, match="num_images"):
        epoch_order("five", seed=0, epoch=0)


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'inference' has no attribute 'fitt'"):
        inference.fitt  # noqa: B018


def test_the_share_of_samples_keeps_its_old_names():
    log_w = torch.tensor([[0.0], [0.0], [-torch.inf], [-torch.inf]])
    with pytest.warns(DeprecationWarning, match="effective_sample_share"):
        assert float(inference.effective_sample_size(log_w)) == pytest.approx(0.5)
    diagnosis = Diagnosis([], 1, 2.0, 1.0, 1.0, 4, 1, effective_sample_share=0.5, pareto_k=0.1)
    with pytest.warns(DeprecationWarning, match="effective_sample_share"):
        assert diagnosis.effective_sample_size == 0.5
    plain = diagnosis.as_dict()
    assert plain["effective_sample_size"] == plain["effective_sample_share"] == 0.5
