"""Two processes on a CPU do what one does on the same images."""

import atexit
import os
import socket
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import as_a_build_for_cuda
from torch import nn
from vector_pairs import Gaussian, Nothing, vectors

from inference import BetaELBO, Images, Settings, TraceMeanField_ELBO, fit, negative_bounds, set_seed
from inference.programs.terms import Terms, batches_joined
from inference.system.processes import of_every_process, share_of, shares_joined
from pyro_models import ActNorm

SHAPE = (1, 2, 2)
_FREE = 13.36  # nats


class Model(nn.Module):
    """Keeps a sum of its weights at every call: what the process held at that step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 4)
        self.held: list[float] = []

    def forward(self, x):
        if not torch.fx.experimental.proxy_tensor.get_proxy_mode():
            self.held.append(self.net.weight.double().sum().item())
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.net(z).unflatten(-1, SHAPE)).to_event(3), obs=x)


class Pixels(nn.Module):
    """Independent pixels, and no latents: a bound varies by what is observed alone."""

    def forward(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(logits=torch.arange(4.0).view(SHAPE)).to_event(3), obs=x)


class Guide(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)
        self.scale = scale

    def forward(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.net(x.flatten(1)), self.scale).to_event(1))


def images(count: int) -> Images:
    pixels = torch.randint(0, 2, (count, *SHAPE), generator=torch.Generator().manual_seed(count)).byte()
    return Images("test", pixels, torch.zeros(count).long(), 2, "static")


def grey(count: int) -> Images:
    pixels = torch.randint(0, 256, (count, *SHAPE), generator=torch.Generator().manual_seed(count)).byte()
    return Images("test", pixels, torch.zeros(count).long(), 256, "dynamic")


def trained(batch_size: int, compile: str, scale: float = 1e-6, free_bits: float | None = None):
    """A pair after three epochs of 24 images; so narrow a guide leaves nothing to chance."""
    set_seed(1)
    model, guide = Model(), Guide(scale)
    settings = Settings(epochs=3, batch_size=batch_size, lr=0.01, compile=compile)
    objective = TraceMeanField_ELBO() if free_bits is None else BetaELBO(free_bits=free_bits)
    return model, guide, fit(model, guide, images(24), images(8), settings, objective)


def of_vectors(batch_size: int, as_functions: bool = False) -> tuple[Gaussian, list[dict[str, float]]]:
    """A model without latents after three epochs of 24 vectors, and its rows without the seconds."""
    model, guide = Gaussian(), Nothing()

    def program(x):
        pyro.module("model", model)
        model(x)

    pair = (program, lambda x: None) if as_functions else (model, guide)
    settings = Settings(epochs=3, batch_size=batch_size, lr=0.01, compile="off")
    rows = fit(*pair, vectors(24), vectors(8, seed=1), settings, show=None)
    return model, [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def normalised(share: slice) -> dict[str, torch.Tensor]:
    """What a layer that has seen its share of eight images normalises by."""
    layer = ActNorm(3).train()
    layer.inverse_and_log_det(torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))[share])
    return layer.state_dict()


def one_of_two(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    as_a_build_for_cuda()
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"MASTER_PORT": str(port)}
    group = torch.distributed
    atexit.register(lambda: Path(folder, f"{rank}.left").write_text(str(not group.is_initialized())))  # the last to run
    found = {}
    for compile in ("off", "on"):
        model, guide, rows = trained(4, compile)
        weights = {**model.state_dict(), **{f"guide.{k}": v for k, v in guide.state_dict().items()}}
        found[compile] = {"held": model.held, "weights": weights, "rows": rows}
    with_budget = trained(4, "off", free_bits=_FREE)
    found["free"] = [half.state_dict() for half in with_budget[:2]]
    guide.scale = 0.5
    found["bound"] = negative_bounds(model, guide, images(8), [5], repeats=40)[5].as_dict()
    found["binarised"] = negative_bounds(Pixels(), Nothing(), grey(5), [1], repeats=2, batch_size=2)[1].as_dict()
    found["share"] = shares_joined(10.0 * share_of(5))
    terms = [Terms(torch.full((2,), float(rank)), torch.zeros(2))] * (2 - rank)  # the second has one batch less
    found["joined"] = [t.kl for t in batches_joined(terms)]
    found["all"] = of_every_process(rank)
    model, found["of vectors"] = of_vectors(4)
    found["vectors"] = (model.state_dict(), negative_bounds(model, Nothing(), vectors(8), [3], repeats=2)[3].as_dict())
    found["functions"] = of_vectors(4, as_functions=True)[1]
    found["normalised"] = normalised(slice(4 * rank, 4 * rank + 4))
    torch.save(found, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, (port, str(folder)), nprocs=2)
    left = [(folder / f"{rank}.left").read_text() == "True" for rank in range(2)]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) | {"left": left[rank]} for rank in range(2)]


@pytest.mark.parametrize("compile", ["off", "on"])
def test_weights_are_the_same_in_both_after_every_step(both, compile):
    first, second = (found[compile] for found in both)
    assert len(set(first["held"])) > 3
    assert first["held"] == second["held"]
    torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)
    without_time = [[{k: v for k, v in row.items() if k != "seconds"} for row in r["rows"]] for r in (first, second)]
    assert without_time[0] == without_time[1]


@pytest.mark.parametrize("compile", ["off", "on"])
def test_two_train_as_one_does_with_twice_the_batch(both, compile):
    model, guide, rows = trained(8, "off")
    weights = {**model.state_dict(), **{f"guide.{k}": v for k, v in guide.state_dict().items()}}
    torch.testing.assert_close(both[0][compile]["weights"], weights, rtol=1e-3, atol=1e-4)
    for ours, alone in zip(both[0][compile]["rows"], rows, strict=True):
        for split in ("train", "test"):
            for name in ("reconstruction", "last_batch_reconstruction"):
                if (split, name) != ("test", "last_batch_reconstruction"):  # batches of 4 and 4, not of 8
                    assert ours[f"{split}_{name}"] == pytest.approx(alone[f"{split}_{name}"], rel=1e-3)


def test_free_bits_are_judged_by_the_images_of_both(both):
    """Within a budget that the images of one process would exceed and those of the other would not."""
    alone = [half.state_dict() for half in trained(8, "off", free_bits=_FREE)[:2]]
    torch.testing.assert_close(both[0]["free"], alone, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(both[1]["free"], both[0]["free"], rtol=0, atol=0)


def test_bounds_are_measured_together(both):
    assert both[0]["bound"] == both[1]["bound"]
    model, guide, _ = trained(8, "off")
    guide.scale = 0.5
    alone = negative_bounds(model, guide, images(8), [5], repeats=40)[5]
    error = (alone.standard_error**2 + both[0]["bound"]["standard_error"] ** 2) ** 0.5
    assert abs(alone.value - both[0]["bound"]["value"]) < 4 * error + 1e-3


def test_binarised_pixels_are_those_that_one_process_draws(both):
    alone = negative_bounds(Pixels(), Nothing(), grey(5), [1], repeats=2)[1].as_dict()
    assert alone["standard_error"] > 0.01
    for found in both:
        assert found["binarised"] == pytest.approx(alone, rel=1e-5)


def test_vectors_without_latents_are_fitted_by_both_as_by_one(both):
    model, rows = of_vectors(8)
    bound = negative_bounds(model, Nothing(), vectors(8), [3], repeats=2)[3].as_dict()
    for found in both:
        torch.testing.assert_close(found["vectors"][0], model.state_dict(), rtol=1e-4, atol=1e-5)
        assert found["vectors"][1] == pytest.approx(bound, rel=1e-4, abs=1e-4)
        for ours, alone in zip(found["of vectors"], rows, strict=True):
            whole = {name: value for name, value in alone.items() if "last_batch" not in name}
            assert {name: ours[name] for name in whole} == pytest.approx(whole, rel=1e-4)
        assert found["functions"] == found["of vectors"]
    assert both[0]["of vectors"] == both[1]["of vectors"]


def test_processes_leave_their_group_when_they_end(both):
    """Threads of a group that is not left may abort a process whose run is written."""
    assert all(found["left"] for found in both)


def test_values_are_joined_in_order(both):
    for found in both:
        assert found["share"].tolist() == [0, 10, 20, 30, 40]
        assert [kl.tolist() for kl in found["joined"]] == [[0, 0, 1, 1], [0, 0]]
        assert found["all"] == [0, 1]


def test_a_layer_is_normalised_by_the_images_of_both(both):
    for found in both:
        torch.testing.assert_close(found["normalised"], normalised(slice(8)))


def test_one_process_alone():
    assert of_every_process("x") == ["x"]
    assert share_of(3).tolist() == [0, 1, 2]
    assert shares_joined(torch.tensor([1.0, 2.0])).tolist() == [1, 2]
