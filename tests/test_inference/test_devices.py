"""Work is done on a device that is there, whatever torch was built for."""

import re
import sys
from contextlib import nullcontext

import pyro
import pytest
import torch
from conftest import as_a_build_for_cuda, described_vae
from torch import distributed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import inference.system.randomness
from inference import Images, Settings, build, diagnose, fit, negative_bounds
from inference.system.devices import find_device
from inference.system.processes import ProcessError, join_processes, others_awaited
from inference.system.randomness import generator_states, restore_generators
from pyro_models import ActNorm
from pyro_models.distributions.mixture import NormalMixture

SHAPE = (1, 2, 2)
IMAGES = Images("bits", (torch.arange(80).reshape(20, *SHAPE) % 3 == 0).byte(), torch.zeros(20).long(), 2, "static")
CPU = torch.device("cpu")


@pytest.fixture
def gpus(monkeypatch):
    """Sets how many GPUs there are, beside a torch that was built for them."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", torch.accelerator.current_accelerator)
    monkeypatch.setattr(torch.cuda, "is_available", torch.cuda.is_available)
    monkeypatch.setattr(torch.cuda, "device_count", torch.cuda.device_count)  # all put back by the fixture
    return as_a_build_for_cuda


def as_process(patch: pytest.MonkeyPatch, rank: int, of: int) -> None:
    patch.setenv("WORLD_SIZE", str(of))
    patch.setenv("LOCAL_RANK", str(rank))


def test_auto_is_what_the_machine_has_not_what_torch_was_built_for(gpus):
    gpus(0)
    assert find_device() == CPU
    gpus(1)
    assert find_device() == torch.device("cuda")
    assert find_device("cpu") == CPU


def test_an_apple_gpu_is_found(monkeypatch):
    monkeypatch.setattr(torch.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "device_count", lambda: 1)
    assert find_device() == find_device("mps") == torch.device("mps")
    as_process(monkeypatch, rank=1, of=2)  # processes cannot join what it holds
    assert find_device() == CPU
    with pytest.raises(ValueError, match="several processes cannot share the device mps"):
        find_device("mps")


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:1", 1), ("cuda:0", 0), ("mps", 1), ("xpu", 0)])
def test_a_device_that_is_not_there_is_told_in_one_line(gpus, name, count):
    gpus(count)
    there = "cuda, cpu" if count else "cpu"
    with pytest.raises(ValueError, match=f"^torch finds no device {name} on this machine; it finds {there}$"):
        Settings(device=name).find_device()


@pytest.mark.parametrize("name", ["tpu", "", "cuda:x", "meta", "CPU", "0"])
def test_what_is_no_device_is_refused_at_once(name):
    with pytest.raises(ValueError, match=f"device must be auto, cpu, cuda, .*; got '{name}'"):
        Settings(device=name)


def test_each_process_has_a_gpu_of_its_own(monkeypatch, gpus):
    gpus(2)
    for rank in range(2):
        as_process(monkeypatch, rank, of=2)
        assert find_device() == find_device("cuda") == torch.device("cuda", rank)
    with pytest.raises(ValueError, match="several processes cannot share the device cuda:0"):
        find_device("cuda:0")
    as_process(monkeypatch, rank=2, of=3)
    with pytest.raises(ValueError, match="more processes on this machine than its 2 GPU"):
        find_device()


def test_processes_that_are_in_no_group_do_not_go_on(monkeypatch):
    """Each would train by itself, from its own noise, and both would write the run."""
    as_process(monkeypatch, rank=0, of=2)
    monkeypatch.setattr(distributed, "init_process_group", lambda *_: None)
    with pytest.raises(ProcessError, match="2 processes were started together, but this one is in a group of 1"):
        join_processes("cpu")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"), True),
        (distributed.DistBackendError("NCCL error"), True),
        (RuntimeError("data in igloo cannot be read"), False),
        (FileNotFoundError("/gloo/transport/nccl is no run"), False),
    ],
)
def test_a_lost_process_is_told_by_what_raised_the_error(monkeypatch, error, told):
    monkeypatch.setattr("inference.system.processes.rank_and_size", lambda: (0, 2))
    expected = "another process has failed" if told else re.escape(str(error))
    with pytest.raises(ProcessError if told else type(error), match=expected), others_awaited():
        raise error


def pair():
    return build(described_vae(SHAPE, [4]))


def test_fp16_is_refused_where_it_cannot_be(gpus):
    programs = pair()
    before = [parameter.clone() for parameter in programs["model"].parameters()]
    for count, device in ((0, "auto"), (1, "cpu")):
        gpus(count)
        with pytest.raises(ValueError, match="fp16 needs a GPU, and the device is the CPU: use bf16"):
            fit(*programs.values(), IMAGES, IMAGES, Settings(mixed_precision="fp16", device=device))
    for parameter, old in zip(programs["model"].parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_a_second_fit_may_have_another_precision():
    for precision in ("no", "bf16", "no"):
        settings = Settings(epochs=1, batch_size=10, device="cpu", compile="off", mixed_precision=precision)
        assert len(fit(*pair().values(), IMAGES, IMAGES, settings)) == 1


def test_random_numbers_of_another_device_are_not_gone_on_with():
    states = generator_states(CPU)
    drawn = torch.rand(3)
    restore_generators({**states, "cuda": torch.zeros(16, dtype=torch.uint8)}, CPU)  # of a run begun on a GPU
    assert torch.equal(torch.rand(3), drawn)


ASKING = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)


class WithoutDoubles(TorchDispatchMode):
    """The "meta" device stands in for an Apple GPU: no float64 there, and what comes from it to the CPU is ones."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("device") == CPU:
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is torch.ops.aten.all.default and args[0].device.type == "meta":
            return torch.ones((), dtype=torch.bool, device=CPU)
        if func is torch.ops.aten.nonzero.default and args[0].device.type == "meta":
            return torch.ones(args[0].shape, device=CPU).nonzero().to("meta")
        if func in ASKING and args[0].device.type == "meta":
            return 0
        out = func(*args, **kwargs)
        for part in tree_leaves(out):
            if isinstance(part, torch.Tensor) and (part.device.type, part.dtype) == ("meta", torch.float64):
                raise TypeError(f"no float64 on this device: {func}")
        return out


@pytest.fixture
def without_doubles(monkeypatch):
    monkeypatch.setattr(sys.modules[NormalMixture.__module__], "_WITHOUT_DOUBLES", ("meta",))
    monkeypatch.setattr(inference.system.randomness.pyro, "set_rng_seed", lambda _: None)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which there is none of on "meta"
    with WithoutDoubles(), pyro.validation_enabled(False):
        yield


@pytest.fixture
def apple(without_doubles):
    with torch.device("meta"):
        yield


def test_the_stand_in_for_an_apple_gpu_has_no_doubles(apple):
    with pytest.raises(TypeError, match="no float64"):
        torch.ones(3).double()
    assert torch.ones(3).cpu().double().sum() == 3


def test_actnorm_starts_without_doubles(apple):
    norm = ActNorm(2)
    norm.inverse_and_log_det(torch.zeros(4, 2, 3, 3))
    assert norm.shift.device.type == "meta"


@pytest.mark.parametrize("prior", ["StandardNormal", "GaussianMixture", "FlowPrior"])
def test_evaluation_and_diagnosis_ask_the_device_for_no_doubles(without_doubles, prior):
    programs = [program.to("meta") for program in build(described_vae(SHAPE, [4], prior)).values()]
    images = IMAGES.to("meta")
    bounds = negative_bounds(*programs, images, ms=[1, 2], repeats=2)
    assert {m: bound.value for m, bound in bounds.items()} == {1: -1.0, 2: -1.0}  # what the stand-in hands over
    diagnosis = diagnose(*programs, images, num_images=10, num_weighted=5, num_samples=20)
    assert diagnosis.effective_sample_share == pytest.approx(1)


def test_training_asks_the_device_for_no_doubles(without_doubles):
    model, guide = (program.to("meta") for program in build(described_vae(SHAPE, [4])).values())
    loss = pyro.infer.Trace_ELBO().differentiable_loss(model, guide, *IMAGES.to("meta").arguments(slice(4)))
    loss.backward()
    assert all(parameter.grad.device.type == "meta" for parameter in guide.parameters())
