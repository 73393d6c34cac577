"""Files too large for memory: the same numbers as in memory, little memory, and no silent change."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import ROOT
from torch import nn

from inference import DataError, Images, Reading, Settings, Vectors, binarise, fit, negative_bounds, open_data
from inference.data import mapped
from inference.data.mapped import Mapped, RowFile
from inference.data.opening import check_same
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(3, 2, (3000, 5))
GREY = RNG.integers(0, 256, (300, 6, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (300, 6, 7, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch, tmp_path):
    monkeypatch.setattr(mapped, "_PIECE", 2**12)
    monkeypatch.chdir(tmp_path)


def opened_twice(x: np.ndarray, monkeypatch, name: str = "data.npy", **options):
    """A file opened in memory, and as one too large for it."""
    np.save(name, x)
    monkeypatch.setattr(mapped, "MAPPED_ABOVE", 2**30)
    whole = open_data(name, Reading(**options))
    monkeypatch.setattr(mapped, "MAPPED_ABOVE", 1000)
    return whole, open_data(name, Reading(**options))


def of(data: Images | Vectors) -> torch.Tensor | Mapped:
    return data.pixels if isinstance(data, Images) else data.values


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (VECTORS, {}),
        (VECTORS, {"dtype": "float64"}),
        (VECTORS.astype(">f4"), {"dtype": "float64"}),
        (VECTORS.astype(np.float16), {"standardise": False}),
        ((100 * VECTORS).astype(np.int16), {"layout": "ND", "test_fraction": 0}),
        (GREY, {}),
        (GREY.astype(">u2"), {"test_fraction": 0.5, "test_seed": 3}),
        (GREY > 99, {}),
        (GREY % 17, {"levels": 17}),
        (COLOUR, {}),
        (COLOUR.transpose(0, 3, 1, 2), {}),
    ],
)
def test_rows_of_a_file_are_those_of_memory(x, options, monkeypatch):
    whole, there = opened_twice(np.ascontiguousarray(x), monkeypatch, **options)
    assert there.record == whole.record
    assert there.lines() == whole.lines()
    check_same(whole.record, there)
    for memory, file in zip((whole.train, whole.test), (there.train, there.test), strict=True):
        if memory is None:
            assert file is None
            continue
        assert isinstance(of(file), Mapped)
        assert (of(file).shape, of(file).dtype, of(file).dim()) == (
            of(memory).shape,
            of(memory).dtype,
            of(memory).dim(),
        )
        assert (len(file), file.shape, file.log_det) == (len(memory), memory.shape, memory.log_det)
        assert torch.equal(file.observe(), memory.observe())
        assert torch.equal(of(file).take(slice(2, 40, 3))[:], of(memory)[2:40:3])
        order = torch.randperm(len(memory))
        for one, other in zip(file.batches(7, order), memory.batches(7, order), strict=True):
            assert torch.equal(*one, *other)
        part, same = file.take(order[5:]).take(torch.tensor([9, 0, 9, -1])), memory.take(order[5:])
        assert torch.equal(part.observe(), same.take(torch.tensor([9, 0, 9, -1])).observe())
        assert isinstance(of(part), Mapped), "nothing is copied"
        assert torch.equal(file.observe(file.extremes()), memory.observe(memory.extremes())), "all rows are shown here"
        assert torch.equal(of(file)[torch.tensor([-1])], of(memory)[-1:])
        mask = torch.arange(len(memory)) % 3 == 1
        assert torch.equal(of(file)[mask], of(memory)[mask])
        assert len(of(file)[order[:0]]) == 0
        with pytest.raises(IndexError):
            of(file)[torch.tensor([len(memory)])]


class Linear(nn.Module):
    """x ~ Normal(W z, 1), z ~ Normal(0, 1)."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(2, 5)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.map(z), 1.0).to_event(1), obs=x)


class Guide(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(5, 2)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.map(x), 1.0).to_event(1))


def test_training_is_the_same_from_a_file_and_from_memory(monkeypatch):
    settings = Settings(epochs=2, batch_size=100, num_validation=50, device="cpu", compile="off")
    for kind, x in {"vectors": VECTORS, "images": GREY}.items():
        found = []
        for opened in opened_twice(x, monkeypatch, f"{kind}.npy"):
            pyro.clear_param_store()
            pyro.set_rng_seed(0)
            train, test = opened.train, opened.test
            model, guide = Linear(), Guide()
            if kind == "images":
                train, test = binarise(train, "dynamic"), binarise(test, "dynamic")
                model = VAE(StandardNormal(2), MLPDecoder(2, (1, 6, 7), [4]))
                guide = MeanFieldGuide(MLPEncoder((1, 6, 7), [4]), 2)
            rows = fit(model, guide, train, test, settings, show=None)
            bound = negative_bounds(model, guide, test, [1, 5], repeats=2)
            found.append([[{**row, "seconds": 0} for row in rows], [estimate.value for estimate in bound.values()]])
        assert found[0] == found[1]


def test_copies_read_the_same_file_and_notice_changes(monkeypatch):
    _, there = opened_twice(VECTORS, monkeypatch)
    content = pickle.dumps(there.train)
    for again in (copy.deepcopy(there.train), pickle.loads(content)):
        assert torch.equal(again.observe(), there.train.observe())
    times = os.stat("data.npy")
    with open("data.npy", "r+b") as file:
        file.seek(5000)
        file.write(b"\0\0\0\0")
    os.utime("data.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    for read in (lambda: there.train.observe(), lambda: pickle.loads(content)):
        with pytest.raises(DataError, match="has changed since it was opened"):
            read()


def test_a_file_that_changes_is_noticed(monkeypatch):
    whole, there = opened_twice(VECTORS, monkeypatch)
    assert torch.equal(there.train.observe(slice(3)), whole.train.observe(slice(3)))
    with open("data.npy", "r+b") as file:
        file.seek(5000)
        file.write(b"\0\0\0\0")
    os.utime("data.npy", ns=(0, 10**18))  # disks note times at their own pace
    with pytest.raises(DataError, match=r"data\.npy has changed since it was opened"):
        there.train.observe(slice(3))
    again = open_data("data.npy")
    again.train.observe(slice(3))
    with open("data.npy", "r+b") as file:
        file.truncate(9000)
    with pytest.raises(DataError, match="has changed"):
        next(again.train.batches(10))
    with pytest.raises(DataError, match="is damaged"):
        open_data("data.npy")
    np.save("new.npy", VECTORS)
    again = open_data("new.npy")
    np.save("other.npy", 2 * VECTORS)
    os.replace("other.npy", "new.npy")
    assert torch.equal(again.train.observe(), whole.train.observe()), "the file that was opened is still there"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.asfortranarray(VECTORS), "Fortran order"),
        (GREY / 255, "save them as uint8"),
        (np.where(VECTORS > 8, np.nan, VECTORS), "finite"),
        (np.where(VECTORS > 8, np.inf, VECTORS), "finite"),
        (np.where(VECTORS > 8, 1e300, VECTORS), "--dtype float64"),
        (np.where(np.arange(5) == 2, 7.0, VECTORS), "coordinate 2 has the same value"),
        (GREY // 2, "--levels 128"),
        (GREY.astype(np.int16) - 1, "values from -1"),
        ((100 * VECTORS).astype(np.int16), "--layout ND"),
    ],
)
def test_large_files_are_checked_as_small_ones(x, message, monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_ABOVE", 1000)
    np.save("data.npy", x)
    with pytest.raises((DataError, ValueError), match=message) as caught:
        open_data("data.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["static", "threshold"])
def test_bits_of_a_large_file_are_not_kept(how, monkeypatch):
    _, there = opened_twice(GREY, monkeypatch)
    with pytest.raises(ValueError, match=f"where {how} bits are kept: dynamic ones work"):
        binarise(there.train, how)
    drawn = binarise(there.train, "dynamic").observe(slice(5))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}


def test_labels_of_ones_own_go_with_rows_of_a_file():
    np.save("data.npy", VECTORS)
    data = Vectors("mine", Mapped(RowFile("data.npy"), torch.float64), torch.arange(3000) % 7, conditional=True)
    x, labels = next(data.batches(4, torch.tensor([5, 2999, 0, 5])))
    assert (x.numpy() == VECTORS[[5, 2999, 0, 5]]).all()
    assert labels.tolist() == [5, 3, 0, 5]


PEAK = """
import re, sys
import torch
from inference import open_data
from inference.data import mapped

def peak():  # not ru_maxrss, which starts with that of the parent process
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

before = peak()
mapped.MAPPED_ABOVE = 2**20
train = open_data(sys.argv[1]).train
for step, (x,) in enumerate(train.batches(100, torch.randperm(len(train)))):
    if step == 50:
        break
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the kernel does not say how much memory was used")
def test_a_file_of_300_mb_takes_little_memory():
    """Copies would take hundreds of megabytes; what is kept is some numbers for each of its million rows."""
    x = np.lib.format.open_memmap("data.npy", "w+", np.float32, (1_200_000, 64))
    x.reshape(-1, 10_000, 64)[:] = RNG.standard_normal((10_000, 64), np.float32)
    del x
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PEAK, "data.npy"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    os.remove("data.npy")
    assert float(done.stdout) < 100, "more megabytes than the rows need"
