"""No number that is not finite goes unnoticed, or into the weights."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import described_vae
from torch import nn

from inference import Images, Run, Settings, build, fit, load, set_seed
from pyro_models import VAE, GaussianMixture, MeanFieldGuide, MLPDecoder, MLPEncoder

SHAPE = (1, 2, 2)
TRAIN = Images("bits", (torch.arange(400).reshape(100, 1, 2, 2) % 3 == 0).byte(), torch.zeros(100).long(), 2, "static")


class Model(nn.Module):
    """z ~ N(0, 1), x ~ Bernoulli(sigmoid(w z)); breaks as it is told to at its ``at``-th training step."""

    def __init__(self, how: str = "", at: int = 7) -> None:
        super().__init__()
        self.net = nn.Linear(2, 4)
        self.how, self.at, self.step = how, at, 0

    def forward(self, x):
        self.step += self.training
        broken = self.how if self.training and self.step == self.at else ""
        scale = torch.tensor(math.nan if broken == "prior" else 1.0)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), scale).to_event(1))
            logits = self.net(z).unflatten(-1, SHAPE)
            if broken == "likelihood":
                logits = logits * math.inf
            if broken == "gradient":
                logits = logits + 0 * (logits - logits).abs().sqrt()  # finite, but its derivative is not
            pyro.sample("x", dist.Bernoulli(logits=logits, validate_args=False).to_event(3), obs=x)


class Guide(nn.Module):
    def __init__(self, how: str = "", at: int = 7) -> None:
        super().__init__()
        self.net = nn.Linear(4, 4)
        self.how, self.at, self.step = how, at, 0

    def forward(self, x):
        self.step += self.training
        loc, raw = self.net(x.flatten(1)).chunk(2, -1)
        if self.training and self.step == self.at and self.how == "guide":
            loc = loc + torch.where(torch.arange(len(x)) == 3, math.nan, 0.0).to(loc)[:, None]
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


def make(how: str, at: int = 7):
    set_seed(0)
    return Model(how, at), Guide(how, at)


def still(program):
    """The program, which stays at the step that breaks once it has come to it."""
    forward = type(program).forward

    def run(x):
        if program.step >= program.at:
            program.step = program.at - 1
        forward(program, x)

    program.forward = run
    return program


SETTINGS = {"epochs": 2, "batch_size": 10, "device": "cpu", "compile": "off"}
WHERE = {
    "prior": r"log-density of site 'z' in the model is nan at 10 of 10",
    "likelihood": r"log-density of site 'x' in the model is (nan|-inf) at \d+ of 10",
    "guide": r"value of site 'z' in the guide is nan at 2 of 20",
    "gradient": r"every site is finite, but not the gradient of model\.net",
}


@pytest.mark.parametrize("how", WHERE)
@pytest.mark.parametrize("at", [7, 13])
def test_the_step_and_the_site_are_named_and_the_checkpoint_stays(tmp_path, how, at):
    model, guide = (still(half) for half in make(how, at))
    pair = {"model": {"class_path": "unused.M"}, "guide": {"class_path": "unused.G"}}
    run = Run.create(tmp_path / "run", {"seed": 0}, pair)
    step, epoch = (at - 1) % 10 + 1, (at - 1) // 10 + 1
    with pytest.raises(FloatingPointError, match=rf"at step {step} of epoch {epoch}: .*{WHERE[how]}") as caught:
        fit(model, guide, TRAIN, TRAIN, Settings(**SETTINGS), run=run)
    assert "\n" not in str(caught.value)
    assert run.last.is_file() == (epoch == 2)
    assert ("checkpoint of epoch 1 is kept" in str(caught.value)) == (epoch == 2)
    for half in (model, guide):
        assert all(torch.isfinite(p).all() for p in half.parameters())


@pytest.fixture(params=["no", "bf16", "fp16"])
def precision(request, monkeypatch):
    """Each precision; fp16, which is for GPUs, on this CPU too, whose arithmetic is right if not quick."""
    if request.param == "fp16":
        fp16_here(monkeypatch, init_scale=1.0)
    return request.param


def fp16_here(monkeypatch, init_scale):
    monkeypatch.setattr(Settings, "find_device", lambda _: torch.device("cpu"))
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=init_scale))


@pytest.mark.parametrize("how", WHERE)
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_step_that_is_skipped_changes_nothing(how, clip_norm, precision):
    """The weights after a run with one broken step are those of a run that never saw that batch."""
    chosen = {**SETTINGS, "mixed_precision": precision, "clip_norm": clip_norm}
    model, guide = make(how)
    with pytest.warns(UserWarning, match="epoch 1: 1 steps were not finite, and skipped"):
        rows = fit(model, guide, TRAIN, TRAIN, Settings(**chosen, on_nonfinite="skip"))
    assert all(math.isfinite(value) for row in rows for value in row.values())

    class WithoutStep(torch.optim.AdamW):
        taken = 0

        def step(self, closure=None):
            WithoutStep.taken += 1
            if WithoutStep.taken != 7:
                super().step(closure)

    set_seed(0)
    plain_model, plain_guide = Model(), Guide()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.optim, "AdamW", WithoutStep)
        fit(plain_model, plain_guide, TRAIN, TRAIN, Settings(**chosen))
    for half, plain in ((model, plain_model), (guide, plain_guide)):
        for ours, theirs in zip(half.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_gradients_of_fp16_that_were_scaled_too_far_are_no_failure(monkeypatch, recwarn):
    """Those steps are left out, and the next ones are scaled less, until they fit."""
    fp16_here(monkeypatch, init_scale=2.0**20)
    model, guide = make("")
    start = [parameter.clone() for parameter in model.parameters()]
    fit(model, guide, TRAIN, TRAIN, Settings(**SETTINGS, mixed_precision="fp16"))
    assert not [w for w in recwarn if "not finite" in str(w.message)]
    for parameter, before in zip(model.parameters(), start, strict=True):
        assert torch.isfinite(parameter).all()
        assert not torch.equal(parameter, before)


def test_gradients_of_fp16_that_never_fit_end_the_run(monkeypatch):
    """However little they are scaled: from 8 by halves to 1, and then it is no fault of the scale."""
    fp16_here(monkeypatch, init_scale=8.0)
    model, guide = (still(half) for half in make("gradient", at=1))
    with pytest.raises(FloatingPointError, match=r"at step 4 of epoch 1: .*the gradient of model\.net"):
        fit(model, guide, TRAIN, TRAIN, Settings(**SETTINGS, mixed_precision="fp16"))
    assert all(torch.isfinite(p).all() for half in (model, guide) for p in half.parameters())


class Normalises(Guide):
    """Keeps running statistics, into which its broken step goes."""

    def __init__(self, how: str = "", at: int = 7) -> None:
        super().__init__(how, at)
        self.norm = nn.BatchNorm2d(1, affine=False)

    def forward(self, x):
        broken = self.how and self.training and self.step + 1 == self.at
        super().forward(self.norm(x * math.nan if broken else x))


def test_a_step_that_is_skipped_changes_no_statistics():
    set_seed(0)
    model, guide = Model(), Normalises("statistics")
    with pytest.warns(UserWarning, match="epoch 1: 1 steps were not finite"):
        fit(model, guide, TRAIN, TRAIN, Settings(**SETTINGS, on_nonfinite="skip"))
    assert guide.norm.num_batches_tracked == 19
    assert all(torch.isfinite(buffer).all() for buffer in guide.buffers())


def test_an_epoch_without_any_finite_step_ends_the_run():
    model, guide = (still(half) for half in make("prior", at=1))
    with pytest.raises(FloatingPointError, match="no step of epoch 1 had a finite loss"):
        fit(model, guide, TRAIN, TRAIN, Settings(**SETTINGS, on_nonfinite="skip"))


class BrokenWhenMeasured(Model):
    def forward(self, x):
        if not self.training and len(x) > 4:  # not in the trial before training
            x = x + math.nan
        super().forward(x)


def test_a_measured_number_that_is_none_is_not_recorded():
    set_seed(0)
    with pytest.raises(FloatingPointError, match="test_negative_elbo is nan after epoch 1"):
        fit(BrokenWhenMeasured(), Guide(), TRAIN, TRAIN, Settings(**SETTINGS))


def test_a_compiled_run_names_the_step_too():
    """Without ways to break on purpose: a learning rate that no model survives."""
    set_seed(0)
    model = VAE(GaussianMixture(2), MLPDecoder(2, SHAPE, [8]))
    guide = MeanFieldGuide(MLPEncoder(SHAPE, [8]), 2)
    settings = Settings(epochs=300, batch_size=10, lr=1e5, device="cpu", compile="on")
    with pytest.raises(FloatingPointError, match=r"at step \d+ of epoch \d+: .*(site|gradient)"):
        fit(model, guide, TRAIN, TRAIN, settings)
    for half in (model, guide):
        assert all(torch.isfinite(p).all() for p in half.parameters())


def test_a_run_after_a_broken_one_loads(tmp_path):
    pair = described_vae(SHAPE, [8])
    made = build(pair)
    run = Run.create(tmp_path / "run", {"seed": 0}, pair)
    with pytest.raises(FloatingPointError, match="is kept"):
        fit(made["model"], made["guide"], TRAIN, TRAIN, Settings(epochs=300, batch_size=10, lr=100.0), run=run)
    loaded = load(tmp_path / "run")
    assert loaded.epoch >= 1
    assert all(torch.isfinite(p).all() for p in loaded.model.parameters())
