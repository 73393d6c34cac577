"""Images, binarisation, data sets and the order of an epoch."""

import dataclasses
import gzip
import hashlib
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from inference import DataError, Images, Settings, binarise, diagnose, fit, load_dataset, negative_bounds, set_seed
from inference.data import datasets
from inference.data.protocol import DataSet
from inference.data.torchvision_ops import import_torchvision
from inference.system.randomness import epoch_order, seed_from
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal


def grey(count: int = 50, levels: int = 256) -> Images:
    return Images("test", torch.randint(0, levels, (count, 1, 4, 4)).byte(), torch.arange(count), levels)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pixels": torch.zeros(3, 1, 2, 2)}, TypeError, "uint8"),
        ({"pixels": torch.full((3, 1, 2, 2), torch.nan)}, TypeError, "uint8"),
        ({"pixels": torch.zeros(3, 2, 2).byte()}, ValueError, "N, C, H, W"),
        ({"pixels": torch.zeros(0, 1, 2, 2).byte(), "labels": torch.zeros(0)}, ValueError, "no empty side"),
        ({"labels": torch.zeros(2)}, ValueError, "one label for each of 3 observations"),
        ({"levels": 1}, ValueError, "levels"),
        ({"levels": 257}, ValueError, "levels"),
        ({"binarisation": "foo"}, ValueError, "foo"),
        ({"binarisation": "static"}, ValueError, "2 levels"),
        ({"pixels": torch.full((3, 1, 2, 2), 9).byte()}, ValueError, "below levels = 5; the largest is 9"),
    ],
)
def test_images_are_checked(change, error, message):
    good = {"name": "test", "pixels": torch.zeros(3, 1, 2, 2).byte(), "labels": torch.zeros(3), "levels": 5}
    with pytest.raises(error, match=message):
        Images(**{**good, **change})


def test_integer_pixels_are_observed_as_they_are():
    images = grey()
    assert torch.equal(images.observe(slice(3)), images.pixels[:3].float())


@pytest.mark.parametrize("levels", [3, 17, 256])
def test_a_pixel_is_one_with_the_probability_of_its_intensity(levels):
    """Dynamic draws are the uniform numbers below pixel / (levels - 1)."""
    images = grey(20, levels)
    torch.manual_seed(1)
    uniform = torch.rand(20, 1, 4, 4)
    torch.manual_seed(1)
    drawn = binarise(images, "dynamic").observe()
    assert torch.equal(drawn, (uniform < images.pixels / (levels - 1)).float())


def test_dynamic_draws_are_fresh_and_have_the_pixels_as_means():
    images = Images("test", torch.tensor([0, 64, 128, 255]).byte().view(1, 1, 2, 2), torch.zeros(1), 256)
    dynamic = binarise(images, "dynamic")
    draws = torch.stack([dynamic.observe() for _ in range(4000)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    expected = images.pixels.float() / 255
    assert (draws.mean(0) - expected).abs().max() < 4 * 0.5 / 4000**0.5
    assert (draws.mean(0).flatten()[[0, 3]] == torch.tensor([0.0, 1.0])).all()


def test_static_draws_once_from_its_seed():
    images = grey()
    once, again, other = (binarise(images, "static", seed) for seed in (3, 3, 4))
    assert torch.equal(once.observe(), once.observe())
    assert torch.equal(once.pixels, again.pixels)
    assert not torch.equal(once.pixels, other.pixels)
    assert once.levels == 2


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_static_draws_have_the_pixels_as_means(levels):
    pixels = torch.arange(levels)[:: max(1, (levels - 1) // 4)].byte()  # from black to white
    images = Images("test", pixels.expand(1, 1, 5000, len(pixels)), torch.zeros(1), levels)
    bits = binarise(images, "static").pixels.double()[0, 0]
    expected = pixels.double() / (levels - 1)
    assert ((bits.mean(0) - expected).abs() <= 5 * (expected * (1 - expected) / 5000).sqrt()).all()


def test_parts_of_a_data_set_keep_their_labels_and_all_else():
    images = Images(
        "test", torch.arange(24).byte().view(6, 1, 2, 2), torch.tensor([3, 1, 4, 1, 5, 2]), 30, "none", True
    )
    part = images.take(torch.tensor([4, 0]))
    assert torch.equal(part.pixels, images.pixels[[4, 0]])
    assert part.labels.tolist() == [5, 3]
    assert (part.name, part.levels, part.binarisation, part.conditional) == ("test", 30, "none", True)
    assert (images.num_classes, part.num_classes, images.image_shape) == (6, 6, (1, 2, 2))
    x, labels = part.arguments()
    assert torch.equal(x, part.pixels.float())
    assert torch.equal(labels, part.labels)
    both = [torch.cat(parts) for parts in zip(*images.batches(4), strict=True)]
    assert torch.equal(both[0], images.pixels.float())
    assert torch.equal(both[1], images.labels)


def test_threshold_is_at_half_the_intensity():
    images = Images("test", torch.tensor([0, 7, 8, 16]).byte().view(1, 1, 2, 2), torch.zeros(1), 17)
    assert binarise(images, "threshold").observe().flatten().tolist() == [0, 0, 1, 1]


def test_unknown_binarisation_is_named():
    with pytest.raises(ValueError, match="'dynamical'.*dynamic, static, threshold"):
        binarise(grey(), "dynamical")


@pytest.mark.parametrize("how", ["dynamic", "static", "threshold"])
def test_binary_images_are_not_binarised_again(how):
    with pytest.raises(ValueError, match="already"):
        binarise(binarise(grey(), how), "threshold")


def test_batches_cover_every_image_once_and_the_last_may_be_short():
    images = grey(23)
    order = epoch_order(23, seed=1, epoch=2)
    batches = [x for (x,) in images.batches(5, order)]
    assert [len(b) for b in batches] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat(batches), images.pixels[order].float())


def test_order_is_a_function_of_seed_and_epoch():
    assert torch.equal(epoch_order(100, 1, 2), epoch_order(100, 1, 2))
    assert not torch.equal(epoch_order(100, 1, 2), epoch_order(100, 1, 3))
    assert not torch.equal(epoch_order(100, 1, 2), epoch_order(100, 2, 2))


def test_processes_share_an_epoch():
    parts = [epoch_order(101, 1, 2, rank, world_size=4) for rank in range(4)]
    assert {len(part) for part in parts} == {25}
    assert len(set(torch.cat(parts).tolist())) == 100


def test_seeds_differ_by_place():
    places = [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0)]
    assert len({seed_from(*place) for place in places}) == len(places)
    set_seed(1, 2)
    first = torch.rand(3)
    set_seed(1, 2)
    assert torch.equal(first, torch.rand(3))
    with pytest.raises(ValueError, match="seed"):
        seed_from(-1)


def test_digits():
    train, test = load_dataset("digits")
    assert (len(train), len(test), train.image_shape, train.levels) == (1438, 359, (1, 8, 8), 17)
    assert train.labels.unique().tolist() == test.labels.unique().tolist() == list(range(10))
    assert int(train.pixels.max()) == 16


def test_unknown_data_set_is_named():
    with pytest.raises(ValueError, match="'mnits'.*mnist, fashion_mnist, digits"):
        load_dataset("mnits")


def test_mnist_from_a_folder(mnist_root):
    train, test = load_dataset("mnist", mnist_root)
    assert (len(train), len(test), train.image_shape, train.levels) == (60_000, 10_000, (1, 28, 28), 256)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.parametrize("damage", ["truncate", "flip", "swap"])
def test_damaged_mnist_is_named_and_refused(mnist_root, tmp_path, damage):
    shutil.copytree(mnist_root / "MNIST", tmp_path / "MNIST", copy_function=shutil.copyfile)
    raw = tmp_path / "MNIST" / "raw"
    file = raw / "t10k-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-1000])
    elif damage == "flip":
        content[5000] ^= 1
        file.write_bytes(content)
    else:
        (raw / "train-images-idx3-ubyte").replace(file)
        (raw / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match="idx3-ubyte is damaged"):
        load_dataset("mnist", tmp_path)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server on this machine that holds four tiny files in MNIST's format."""
    files = {}
    for split, count in (("train", 6), ("t10k", 3)):
        pixels = bytes([i % 256 for i in range(count * 28 * 28)])
        header = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        files[f"{split}-images-idx3-ubyte"] = header + pixels
        files[f"{split}-labels-idx1-ubyte"] = b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(range(count))
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, content in files.items():
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    import_torchvision()
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(MNIST, "resources", resources)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(datasets, "_MNIST_MD5", md5)
    yield folder
    server.shutdown()


def test_mnist_is_downloaded_once(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_SIZES", {"train": 6, "test": 3})
    train, test = load_dataset("mnist", tmp_path / "data")
    assert (len(train), len(test)) == (6, 3)
    assert train.labels.tolist() == list(range(6))
    shutil.rmtree(mirror)
    again, _ = load_dataset("mnist", tmp_path / "data")
    assert torch.equal(again.pixels, train.pixels)


def test_a_file_of_the_wrong_size_is_refused(mirror, tmp_path):
    with pytest.raises(DataError, match=r"\(6, 1, 28, 28\) where \(60000, 1, 28, 28\)"):
        load_dataset("mnist", tmp_path / "data")


def test_a_damaged_download_is_refused(mirror, tmp_path):
    file = mirror / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-5] + b"xxxxx")
    with pytest.raises(DataError, match="could not be downloaded"):
        load_dataset("mnist", tmp_path / "data")


def test_without_network_the_way_out_is_named(tmp_path, monkeypatch):
    import_torchvision()
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError, match="--data_root.*--dataset digits") as caught:
        load_dataset("mnist", tmp_path)
    assert "\n" not in str(caught.value)


def test_torchvision_imports_beside_this_torch():
    torchvision = import_torchvision()
    from torchvision.utils import make_grid

    assert make_grid(torch.rand(4, 1, 2, 2)).shape[0] == 3
    assert import_torchvision() is torchvision


def test_other_import_errors_are_not_hidden(monkeypatch):
    import inference.data.torchvision_ops as module

    def broken(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(module.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="something else"):
        import_torchvision()


def test_fitting_and_measuring_use_of_images_what_the_protocol_says(monkeypatch):
    used = set()

    def note(self, name):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("inference.") and not caller.startswith("inference.data."):
            used.add(name)
        return object.__getattribute__(self, name)

    images = binarise(grey(20), "dynamic")
    images = dataclasses.replace(images, labels=images.labels % 3, conditional=True)
    assert isinstance(images, DataSet)
    model = VAE(StandardNormal(2), MLPDecoder(2, (1, 4, 4), [4], context=3), num_classes=3)
    guide = MeanFieldGuide(MLPEncoder((1, 4, 4), [4], context=3), 2, num_classes=3)
    monkeypatch.setattr(Images, "__getattribute__", note)
    fit(model, guide, images, images, Settings(epochs=1, num_validation=5, device="cpu", compile="off"), show=None)
    negative_bounds(model, guide, images, [1, 4], repeats=2)
    diagnose(model, guide, images, num_images=4, num_samples=20)
    promised = {name for name in vars(DataSet) if not name.startswith("_")}
    used = {name for name in used if not name.startswith("_")} | {"name"}  # of checks that fail
    assert used - promised <= {"levels", "binarisation", "loc", "scale"}  # that a data set may have besides
    assert promised - used <= {"shape"}  # of data, for whoever builds a pair for them
