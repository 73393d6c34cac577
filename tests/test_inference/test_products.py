"""OneDNN multiplies only where it is faster, with errors of float32 size, and the process's switches come back."""

import math
import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from inference import Images, Settings, fit, negative_bounds
from inference.system import products
from inference.system.products import better_products, onednn_is_accurate, products_by
from inference.training.fit import Loop
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal

NEWER = hasattr(getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision")


def forget() -> None:
    products._probed.cache_clear()
    products._warn_of_rounding.cache_clear()


@pytest.fixture(autouse=True)
def fresh():
    forget()
    yield
    forget()
    torch.set_float32_matmul_precision("highest")
    if NEWER:
        torch.backends.mkldnn.matmul.fp32_precision = "none"
        torch.backends.cuda.matmul.fp32_precision = "none"


def switches():
    parts = [torch.backends.mkldnn.matmul, torch.backends.cuda.matmul] if NEWER else []
    return products._precision(), [part.fp32_precision for part in parts]


@pytest.mark.parametrize("library", ["default", "onednn"])
def test_the_switch_is_on_within_and_put_back(library):
    before = switches()
    seen = []

    def fails():
        with products_by(library):
            seen.append(torch.get_float32_matmul_precision())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert seen == [{"default": "highest", "onednn": "medium"}[library]]
    assert switches() == before


def test_a_precision_that_the_caller_lowered_stays():
    torch.set_float32_matmul_precision("high")
    with products_by("onednn"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "high"


@pytest.mark.skipif(not NEWER, reason="torch has one switch for all libraries")
def test_switches_set_for_one_library_alone_stay():
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    before = switches()
    assert before[0] is None
    pixels = torch.eye(2).byte().repeat(5, 2).reshape(10, 1, 2, 2)
    model = VAE(StandardNormal(2), MLPDecoder(2, (1, 2, 2), [4]))
    guide = MeanFieldGuide(MLPEncoder((1, 2, 2), [4]), 2)
    fit(model, guide, Images("two", pixels, levels=2), None, Settings(epochs=1, device="cpu"), show=None)
    with products_by("onednn"):
        assert switches() == before
    assert switches() == before


def test_products_that_are_rounded_are_noticed(monkeypatch):
    exact = torch.mm

    def rounded(a, b):
        return exact(a.bfloat16().to(a.dtype), b.bfloat16().to(b.dtype)) if a.dtype == torch.float32 else exact(a, b)

    monkeypatch.setattr(torch, "mm", rounded)
    monkeypatch.setattr(products, "_relative_time", lambda: 0.1)
    assert not onednn_is_accurate()
    assert better_products() == "default"


@pytest.mark.parametrize(
    "mode",
    [partial(torch.autocast, "cpu", torch.bfloat16), partial(torch.device, "meta"), torch.inference_mode],
    ids=["autocast", "device", "inference"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_try_is_of_float32_on_the_cpu_whatever_mode_the_caller_is_in(monkeypatch, mode, dtype):
    """It counts for the rest of the process."""
    exact, seen = torch.mm, []
    monkeypatch.setattr(
        torch, "mm", lambda a, b: seen.append((a.dtype, exact(a, b).dtype, a.device.type)) or exact(a, b)
    )
    torch.set_default_dtype(dtype)
    with mode():
        onednn_is_accurate()
        assert products._relative_time() > 0
    assert {found for found in seen if found[0] != torch.float64} == {(torch.float32, torch.float32, "cpu")}


@pytest.mark.parametrize(("time", "best"), [(0.9, "onednn"), (1.0, "default"), (1.2, "default")])
def test_the_faster_library_is_taken_and_asked_once(monkeypatch, time, best):
    asked = []
    monkeypatch.setattr(products, "onednn_is_accurate", lambda: True)
    monkeypatch.setattr(products, "_relative_time", lambda: asked.append(1) or time)
    assert [better_products(), better_products()] == [best, best]
    assert len(asked) == 1


def test_a_try_changes_no_switch_and_draws_nothing():
    before, state = switches(), torch.get_rng_state()
    assert better_products() in ("default", "onednn")
    assert products._relative_time() > 0
    assert switches() == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(100, 784, 300), (7, 3, 5), (1, 300, 1), (300, 20, 784), (64, 512, 512)])
def test_products_by_onednn_are_those_of_float32(shape, threads):
    if not onednn_is_accurate():
        pytest.skip("oneDNN rounds the factors on this processor")
    rows, terms, columns = shape
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for layout in range(4):
            a = torch.randn(terms, rows).T if layout % 2 else torch.randn(rows, terms)
            b = torch.randn(columns, terms).T if layout // 2 else torch.randn(terms, columns)
            with products_by("onednn"):
                found = a @ b
            assert float((found - a.double() @ b.double()).abs().max()) <= 5e-6 * math.sqrt(terms)
    finally:
        torch.set_num_threads(before)


def test_only_long_runs_on_a_cpu_ask(monkeypatch):
    monkeypatch.setattr(products, "better_products", lambda: "onednn")
    assert Settings(device="cpu").best_products(100_000) == "onednn"
    assert Settings(device="cpu").best_products(100) == "default"
    assert Settings(device="cpu", tf32=True).best_products(100_000) == "default"
    monkeypatch.setattr(products, "onednn_is_accurate", lambda: True)
    assert Settings(device="cpu", products="onednn").best_products(1) == "onednn"
    monkeypatch.setattr(products, "onednn_is_accurate", lambda: False)
    with pytest.warns(UserWarning, match="oneDNN would round"):
        assert Settings(device="cpu", products="onednn").best_products(1) == "default"
    assert Settings(device="cpu", products="default").best_products(100_000) == "default"
    with pytest.raises(TypeError, match="'auto', 'default', 'onednn'"):
        Settings(products="mkl")


def test_one_warning_says_that_onednn_would_round(monkeypatch):
    """Though the command, the run and its continuation all ask."""
    monkeypatch.setattr(products, "onednn_is_accurate", lambda: False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for long in (False, True, False):
            assert products.chosen_products("onednn", long, torch.device("cpu")) == "default"
    assert len(said) == 1


def test_a_run_begun_on_a_cpu_goes_on_exactly_on_a_gpu(monkeypatch):
    """There the switch would mean TF32; back on a CPU the run has oneDNN again."""
    monkeypatch.setattr(products, "onednn_is_accurate", lambda: True)
    loop = SimpleNamespace(history=SimpleNamespace(products="onednn"), device=torch.device("cuda"))
    assert Loop.products.fget(loop) == "default"
    loop.device = torch.device("cpu")
    assert Loop.products.fget(loop) == "onednn"


def test_bounds_agree_whatever_multiplies(monkeypatch):
    """Within rounding, and the switch is on in the estimate alone."""
    model = VAE(StandardNormal(2), MLPDecoder(2, (1, 4, 4), [20]))
    guide = MeanFieldGuide(MLPEncoder((1, 4, 4), [20]), 2)
    images = Images("noise", torch.randint(0, 2, (10, 1, 4, 4)).byte(), levels=2)
    seen = []
    hook = model.register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    monkeypatch.setattr(products, "onednn_is_accurate", lambda: True)
    found = {kind: negative_bounds(model, guide, images, (1, 5), 2, products=kind) for kind in ("default", "onednn")}
    hook.remove()
    assert {"highest", "medium"} == set(seen)
    assert torch.get_float32_matmul_precision() == "highest"
    if onednn_is_accurate():
        for m in (1, 5):
            assert found["default"][m].value == pytest.approx(found["onednn"][m].value, rel=1e-5)
