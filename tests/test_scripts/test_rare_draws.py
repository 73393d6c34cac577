"""A warning where a few draws carry the negative ELBO."""

import shutil
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import ROOT

import pyro_models_cli.commands.evaluate as commands
from inference import Vectors, negative_bounds
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate, warn_of_rare_draws


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([len(x), 1]).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def wide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.StudentT(1.0, x / 2, 0.5**0.5).to_event(1))  # the divergence is infinite


def exact(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))


def record_of(guide, ms=(1, 5, 50)):
    data = Vectors("data", torch.randn(2000, 1, generator=torch.Generator().manual_seed(0)))
    bounds = negative_bounds(model, guide, data, ms=ms, repeats=1)
    return {"negative_elbo": bounds[1].as_dict(), "negative_iwae": {str(m): bounds[m].as_dict() for m in ms}}


def test_a_mean_that_a_few_draws_carry_is_said_to_be_one():
    record = record_of(wide)
    errors = [record["negative_elbo"]["standard_error_over_images"]]
    errors += [record["negative_iwae"]["50"]["standard_error_over_images"]]
    times = f"is {errors[0] / errors[1]:.0f} times that of the bound with m = 50"
    with pytest.warns(UserWarning, match=f"a few draws carry the negative ELBO, whose error over the data {times}"):
        warn_of_rare_draws(record)


@pytest.mark.parametrize(("guide", "ms"), [(exact, (1, 5, 50)), (wide, (1,))])
def test_other_means_go_without_a_word(guide, ms):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_rare_draws(record_of(guide, ms))


def test_one_datum_has_no_error_to_compare():
    one = {"value": 1.0, "standard_error_over_images": None}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_rare_draws({"negative_elbo": one, "negative_iwae": {"5": one}})


def test_evaluate_warns_once_its_record_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_RARE", 0.0)
    run = shutil.copytree(ROOT / "pretrained" / "vae_digits", tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="a few draws carry the negative ELBO"):
            evaluate(run, EvaluateOptions(m=[5], repeats=1, num_images=20, device="cpu"))
    assert (run / "evaluation_first_20.json").is_file()
