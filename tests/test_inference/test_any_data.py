"""Fitting and measuring take any data set: vectors, standardised or not, and a class of the user's own."""

import math
from contextlib import nullcontext
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from test_no_latents import OBJECTIVES
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from vector_pairs import PAIRS, SIZE, Gaussian, Normals, NormalsGuide, Nothing, vectors

from inference import (
    CompiledELBO,
    DataError,
    ELBOWithTerms,
    Images,
    Run,
    RunError,
    Settings,
    Trace_ELBO,
    Vectors,
    check_pair,
    diagnose,
    fit,
    load,
    load_dataset,
    log_weights,
    negative_bounds,
    set_seed,
    standardise,
)

DATA = vectors(60)
QUICK = Settings(epochs=2, batch_size=16, device="cpu", compile="off")


def without_time(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_on_vectors(objective, pair):
    rows = fit(*PAIRS[pair](), DATA, vectors(20, seed=1), QUICK, OBJECTIVES[objective](), show=None)
    for row in rows:
        assert all(math.isfinite(value) for value in row.values())
        nats = row["test_kl"] + row["test_reconstruction"]
        assert row["test_negative_elbo"] == pytest.approx(nats, rel=1e-5)
        assert row["test_bits_per_dim"] == pytest.approx(nats / (SIZE * math.log(2)), rel=1e-5)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_compiled_steps_are_those_of_eager_ones(objective, pair):
    found = []
    for compiled in (False, True):
        set_seed(0)
        step = ELBOWithTerms(OBJECTIVES[objective](), *PAIRS[pair]())
        module = CompiledELBO(step, backend="eager") if compiled else step
        set_seed(1)
        loss, terms = module(DATA.observe())
        found.append([loss, terms, torch.autograd.grad(loss, [*step.parameters()], allow_unused=True)])
    torch.testing.assert_close(*found)


def affine_equivalent(model: Gaussian, loc: Tensor, scale: Tensor) -> Gaussian:
    """The model of v = loc + scale * x, if the given one is that of x."""
    other = Gaussian()
    with torch.no_grad():
        other.loc.copy_(loc + scale * model.loc)
        other.log_diagonal.copy_(model.log_diagonal + scale.log())
        other.below.copy_(scale[:, None] * model.below)
    return other


def test_standardised_and_raw_vectors_have_the_same_likelihood():
    (shown,) = standardise(DATA)
    model, guide = Gaussian(), Nothing()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    same = affine_equivalent(model, shown.loc, shown.scale)
    exact = -float(same.distribution.log_prob(DATA.values).detach().mean())
    assert abs(shown.log_det) > 1

    for data, of_data in ((shown, model), (DATA, same)):
        assert negative_bounds(of_data, guide, data, ms=(3,), repeats=1)[3].value == pytest.approx(exact, rel=1e-5)
        found = diagnose(of_data, guide, data, num_weighted=60, num_samples=20)
        assert found.negative_elbo == pytest.approx(exact, rel=1e-5)
        assert found.negative_iwae == pytest.approx(exact, rel=1e-5)
    still = replace(QUICK, lr=1e-30, num_validation=10, full_train_pass=True, epochs=1)
    (row,), (of_raw,) = (
        fit(of_data, guide, data, data, still, show=None) for data, of_data in ((shown, model), (DATA, same))
    )
    assert row["test_negative_elbo"] == row["test_reconstruction"] == pytest.approx(exact, rel=1e-5)
    assert without_time([row])[0] == pytest.approx(without_time([of_raw])[0], rel=1e-4)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (DATA, vectors(9, size=2), r"shape \(3,\), but vectors 0 of \(2,\): give two"),
        (standardise(DATA)[0], vectors(9, seed=1), r"another loc.*standardise\(train, test\)"),
        (DATA, replace(DATA, values=DATA.values.double()), r"numbers of torch.float32, but .* of torch.float64"),
        (DATA, replace(DATA, scale=torch.full((SIZE,), 2.0)), r"another scale.*standardise\(train, test\)"),
        (DATA, replace(DATA, labels=torch.zeros(60).long(), conditional=True), "only one of .* shows labels"),
    ],
)
def test_data_that_are_not_alike_are_refused_before_training(train, test, message):
    with pytest.raises(ValueError, match=message) as caught:
        fit(Gaussian(), Nothing(), train, test, QUICK, show=None)
    assert "\n" not in str(caught.value)


def test_what_is_the_same_standardisation_is_accepted():
    same = replace(DATA, loc=torch.zeros(SIZE), scale=torch.ones(SIZE))
    assert fit(Gaussian(), Nothing(), DATA, same, QUICK, show=None)
    assert fit(Gaussian(), Nothing(), *standardise(DATA, vectors(9, seed=1)), QUICK, show=None)


class Coins:
    """A data set that inherits nothing: numbers on demand, held nowhere."""

    log_det = 0.0
    conditional = False
    num_classes = 0
    name = "coins"
    shape = (SIZE,)
    num_dims = SIZE

    def __init__(self, index: Tensor) -> None:
        self.index = index

    def __len__(self):
        return len(self.index)

    def to(self, device):
        return Coins(self.index.to(device))

    def take(self, index):
        return Coins(self.index[index])

    def extremes(self):
        return torch.tensor([0, len(self) - 1])

    def arguments(self, index=slice(None)):
        return (torch.stack([(self.index[index] * k).float().sin() for k in range(1, SIZE + 1)], -1),)

    def batches(self, batch_size, order=None):
        order = torch.arange(len(self)) if order is None else order
        for part in order.split(batch_size):
            yield self.arguments(part)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_data_set_of_the_users_own(pair):
    model, guide = PAIRS[pair]()
    data = Coins(torch.arange(50))
    rows = fit(model, guide, data, settings=replace(QUICK, num_validation=10), show=None)
    assert all(math.isfinite(row["validation_negative_elbo"]) for row in rows)
    assert math.isfinite(negative_bounds(model, guide, data, ms=(2,), repeats=2)[2].value)
    assert diagnose(model, guide, data, num_samples=20).num_images == 50


def test_a_file_that_changed_is_no_fault_of_the_pair(monkeypatch):
    def changed(data, index):
        raise DataError("table.csv has changed")

    monkeypatch.setattr(Coins, "arguments", changed)
    monkeypatch.setattr("inference.training.trial._check_dtypes", lambda *_: None)
    with pytest.raises(DataError, match="^table.csv has changed$"):
        check_pair(Gaussian(), Nothing(), Coins(torch.arange(9)), Trace_ELBO())


def test_rows_without_test_data_have_no_columns_of_them(tmp_path, capsys):
    run = Run.create(tmp_path / "run", {}, {})
    rows = fit(Gaussian(), Nothing(), DATA, settings=replace(QUICK, num_validation=10), run=run)
    assert run.metrics() == without_time(rows)
    assert {name.partition("_")[0] for name in run.metrics()[0]} == {"epoch", "lr", "train", "validation"}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "train" in lines[0]
    assert "test" not in lines[0]


def test_no_progress_is_silent(capfd):
    fit(Gaussian(), Nothing(), DATA, DATA, QUICK, show=None)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("test", [None, vectors(20, seed=1)])
def test_validation_and_resume_are_exact(tmp_path, test):
    whole, cut = (Run.create(tmp_path / name, {}, {}) for name in ("whole", "cut"))

    def trained(run: Run, epochs: int, resume: bool = False):
        set_seed(0)
        model, guide = PAIRS["two latents"]()
        settings = replace(QUICK, epochs=epochs, num_validation=10, schedule="constant")
        rows = fit(model, guide, DATA, test, settings, run=run, resume=resume, show=None)
        return rows, [*model.state_dict().values(), *guide.state_dict().values()]

    rows, weights = trained(whole, 4)
    trained(cut, 2)
    again, weights_again = trained(cut, 4, resume=True)
    assert without_time(again) == without_time(rows)
    torch.testing.assert_close(weights_again, weights, rtol=0, atol=0)


def test_images_and_vectors_are_not_mixed_up():
    class Pixels(Gaussian):
        levels = 256

    with pytest.raises(ValueError, match=r"pixels with 256 levels, but vectors 0 holds real numbers.*Images"):
        check_pair(Pixels(), Nothing(), DATA, Trace_ELBO())
    with pytest.raises(ValueError, match="pixels with 256 levels"):
        negative_bounds(Pixels(), Nothing(), DATA)

    class OfImages(Gaussian):
        def forward(self, x, labels=None):
            super().forward(x.flatten(1))

    grey = Images("grey", torch.randint(256, (20, 1, 1, SIZE), dtype=torch.uint8))
    assert check_pair(OfImages(), Nothing(), grey, Trace_ELBO()) == []  # real numbers, as which integers will do


def test_the_old_name_of_the_data_still_works():
    test = load_dataset("digits")[1].take(slice(5))

    class OfImages(Gaussian):
        def forward(self, x, labels=None):
            super().forward(x.flatten(1))

    with pytest.warns(DeprecationWarning, match="images of inference.negative_bounds is deprecated: it is data"):
        found = negative_bounds(OfImages(64), Nothing(), images=test, ms=(1,), repeats=1)
    x = test.observe().flatten(1)
    assert found[1].value == pytest.approx(-float(dist.Normal(0, 1).log_prob(x).sum(1).mean()), rel=1e-5)


# double precision


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("compiled", [False, True])
def test_double_precision_is_kept_throughout(objective, pair, compiled):
    data = vectors(30, dtype=torch.float64)
    model, guide = (half.double() for half in PAIRS[pair]())
    step = ELBOWithTerms(OBJECTIVES[objective](), model, guide)
    with nullcontext(AllFloats()) if compiled else AllFloats() as seen:
        loss, terms = (CompiledELBO(step, backend="eager") if compiled else step)(data.observe())
        gradients = torch.autograd.grad(loss, [*step.parameters()], allow_unused=True)
    assert {part.dtype for part in (loss, *terms, *gradients) if part is not None} == {torch.float64}
    assert seen.dtypes <= {torch.float64}


class AllFloats(TorchDispatchMode):
    """Notes the types of the floating-point tensors that are computed inside, but for single and for no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for part in torch.utils._pytree.tree_leaves(result):
            if isinstance(part, Tensor) and part.is_floating_point() and part.numel() > 1:
                self.dtypes.add(part.dtype)
        return result


def test_double_precision_in_runs_and_bounds(tmp_path):
    data = standardise(vectors(60, dtype=torch.float64))[0]
    run = Run.create(tmp_path / "run", {"dtype": "float64"}, DESCRIBED)
    model, guide = Gaussian().double(), Nothing()
    fit(model, guide, data, data, QUICK, run=run, show=None)
    loaded = load(tmp_path / "run", allow=["vector_pairs"])
    assert {value.dtype for value in loaded.model.parameters()} == {torch.float64}
    x = data.observe()
    assert torch.equal(log_weights(loaded.model, loaded.guide, x, 3), log_weights(model, guide, x, 3))
    assert log_weights(model, guide, x, 3).dtype == torch.float64


DESCRIBED = {
    "model": {"class_path": "vector_pairs.Gaussian", "init_args": {}},
    "guide": {"class_path": "vector_pairs.Nothing", "init_args": {}},
}


def test_a_run_of_another_type_is_refused(tmp_path):
    run = Run.create(tmp_path / "run", {"dtype": "float16"}, DESCRIBED)
    fit(Gaussian(), Nothing(), DATA, settings=QUICK, run=run, show=None)
    with pytest.raises(RunError, match="dtype must be float32 or float64; got 'float16'"):
        load(tmp_path / "run", allow=["vector_pairs"])


def shifted(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(pyro.param("shift", torch.zeros(SIZE)), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (
            Gaussian(),
            vectors(9, dtype=torch.float64),
            r"is float64, but parameter loc of the model is float32.*\.double",
        ),
        (shifted, vectors(9, dtype=torch.float64), r"is float64, but parameter param:shift of the model is float32"),
        (Normals(1).double(), vectors(9), r"Double.*Float|Float.*Double.*\.float\(\)"),
    ],
)
def test_types_that_are_mixed_are_named(model, data, message):
    guide = NormalsGuide(1) if isinstance(model, Normals) else lambda x: None
    with pytest.raises(ValueError, match=message) as caught:
        check_pair(model, guide, data, Trace_ELBO())
    assert "\n" not in str(caught.value)


def test_apples_gpus_have_no_double_precision(monkeypatch):
    monkeypatch.setattr("inference.training.settings.find_device", lambda name: torch.device("mps"))
    with pytest.raises(ValueError, match="Apple's GPUs have no float64: take the device cpu"):
        fit(Gaussian().double(), Nothing(), vectors(9, dtype=torch.float64))


def test_data_are_constants_whatever_they_were_computed_from():
    values, loc, scale = (torch.randn(*shape).abs().requires_grad_() for shape in ((20, SIZE), (SIZE,), (SIZE,)))
    for data in (Vectors("v", values * 2, loc=loc + 0, scale=scale + 1), *standardise(Vectors("v", values))):
        fit(Gaussian(), Nothing(), data, settings=QUICK, show=None)
        assert not data.observe().requires_grad
    assert values.requires_grad
    assert values.grad is None
