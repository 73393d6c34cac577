"""The SVI loop: what it does, what it writes, and that a resumed run is the run itself."""

import copy
import json
import math
import random
import signal
import subprocess
import warnings

import numpy as np
import pyro
import pytest
import torch
import yaml
from conftest import described_vae
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from safetensors.torch import save_file

from inference import (
    CheckpointError,
    Images,
    Interrupted,
    Run,
    RunError,
    Settings,
    Vectors,
    build,
    fit,
    load,
    set_seed,
)
from inference.runs import checkpoint
from inference.system import environment
from inference.system.randomness import epoch_order, generator_states, restore_generators
from inference.training.history import History
from inference.training.schedules import SCHEDULES
from pyro_models import DensityModel, NoLatents, vector_realnvp

SHAPE = [1, 4, 4]
PAIR = described_vae(SHAPE, [8])


def images(count: int, seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *SHAPE), generator=generator).byte()
    return Images(f"test {seed}", pixels, torch.zeros(count), 256, "dynamic")


TRAIN, TEST = images(50), images(20, 1)
QUICK = {"epochs": 4, "batch_size": 15, "device": "cpu"}


def train(folder=None, resume=False, stop_after=None, config=None, **settings):
    """A run from the start, or its continuation; ``stop_after`` leaves it at that epoch, as a kill would."""
    set_seed(0)
    pair = build(PAIR)
    run = None
    if folder is not None:
        run = Run.open(folder) if resume else Run.create(folder, config or {"seed": 0}, PAIR)
    if stop_after is not None:

        class KilledError(Exception):
            pass

        def write(rows, original=run.write_metrics):
            if len(rows) > stop_after:
                raise KilledError
            original(rows)

        object.__setattr__(run, "write_metrics", write)
        with pytest.raises(KilledError):
            fit(pair["model"], pair["guide"], TRAIN, TEST, Settings(**{**QUICK, **settings}), run=run)
        return pair, []
    rows = fit(pair["model"], pair["guide"], TRAIN, TEST, Settings(**{**QUICK, **settings}), run=run, resume=resume)
    return pair, rows


def weights(pair) -> dict[str, torch.Tensor]:
    return {f"{half}.{k}": v for half in ("model", "guide") for k, v in pair[half].state_dict().items()}


def assert_same_weights(a, b):
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_steps_equal_those_of_bare_svi():
    """ELBO module and torch's Adam, against SVI, the parameter store and Pyro's Adam.

    SVI's loss is a sum over the batch and the loop's a mean: the same to Adam while batches are equal.
    """
    ours, _ = train(schedule="constant", lr=1e-3, epochs=2, batch_size=10)
    set_seed(0)
    theirs = build(PAIR)
    svi = SVI(theirs["model"], theirs["guide"], Adam({"lr": 1e-3}), Trace_ELBO())
    for epoch in range(2):
        set_seed(0, epoch, 0, 0)
        for data in TRAIN.batches(10, epoch_order(len(TRAIN), 0, epoch)):
            svi.step(*data)
    for (name, a), b in zip(weights(ours).items(), weights(theirs).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("test", [None, TEST], ids=["no test set", "test set"])
def test_every_part_is_afterwards_in_its_mode_and_a_frozen_one_stays_in_it(test):
    pair, seen = build(PAIR), {}
    guide, frozen = pair["guide"], pair["model"].decoder.requires_grad_(False).eval()
    frozen.norm = torch.nn.BatchNorm1d(2).eval().requires_grad_(False)
    guide.head.eval()  # but trained
    for name, part in (("frozen", frozen.norm), ("trained", guide.head), ("encoder", guide.encoder)):
        part.register_forward_pre_hook(lambda part, _, name=name: seen.setdefault(name, set()).add(part.training))
    frozen.register_forward_pre_hook(lambda part, given: (part.norm(given[0]), *given[1:]))
    before = frozen.norm.running_mean.clone()
    fit(pair["model"], guide, TRAIN, test, Settings(**QUICK | {"epochs": 1}), show=None)
    assert seen["frozen"] == {False}
    assert True in seen["trained"] & seen["encoder"]
    assert torch.equal(frozen.norm.running_mean, before)
    assert (frozen.training, guide.head.training, guide.encoder.training) == (False, False, True)


def test_the_parameter_store_is_left_as_it_was():
    kept = pyro.param("mine", torch.tensor(2.0))
    train(epochs=1)
    assert dict(pyro.get_param_store().items()) == {"mine": kept}


def test_a_resumed_run_is_the_run_left_alone(tmp_path):
    whole, rows = train(tmp_path / "whole")
    train(tmp_path / "cut", stop_after=2)
    resumed, resumed_rows = train(tmp_path / "cut", resume=True)
    assert_same_weights(whole, resumed)
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in resumed_rows]
    for name in ("checkpoints/last.safetensors", "checkpoints/best.safetensors", "metrics.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_a_resumed_run_takes_the_settings_that_it_is_given(tmp_path):
    trained = []
    for name, decay in (("still", 0.0), ("other", 0.5)):
        train(tmp_path / name, stop_after=2)
        trained.append(weights(train(tmp_path / name, resume=True, weight_decay=decay)[0]))
    assert all(
        key == "model.num_classes" or not torch.equal(value, trained[1][key]) for key, value in trained[0].items()
    )


class Moody(torch.nn.Module):
    """A guide's program under noise from every generator there is; ``stop_at`` interrupts the process in that call."""

    def __init__(self, program, stop_at=None):
        super().__init__()
        self.program, self.stop_at, self.calls = program, stop_at, 0

    def forward(self, x, labels=None):
        self.calls += self.training
        if self.training and self.calls == self.stop_at:
            signal.raise_signal(signal.SIGINT)
        # single draws of pairs: a generator keeps the second one for later
        noise = random.gauss(0, 1) + random.random() + np.random.standard_normal() + float(torch.rand(()))
        return self.program(x + 0.1 * noise, labels)


def moody_run(folder, resume=False, stop_at=None):
    set_seed(0)
    model, guide = build(PAIR).values()
    guide = Moody(guide, stop_at)
    run = Run.open(folder) if resume else Run.create(folder, {"seed": 0}, PAIR)
    fit(model, guide, TRAIN, TEST, Settings(**{**QUICK, "epochs": 2, "compile": "off"}), run=run, resume=resume)
    return {"model": model, "guide": guide}


def test_a_run_interrupted_within_an_epoch_goes_on_with_the_random_numbers_of_all_generators(tmp_path):
    whole = moody_run(tmp_path / "whole")
    with pytest.raises(Interrupted, match="epoch 2"):
        moody_run(tmp_path / "cut", stop_at=7)  # an odd number of calls into the epoch: pairs are half used
    random.seed(1), np.random.seed(1)
    resumed = moody_run(tmp_path / "cut", resume=True)
    assert_same_weights(whole, resumed)


def test_checkpoints_of_older_versions_hold_the_generators_of_torch_alone():
    states = generator_states(torch.device("cpu"))
    drawn = random.random(), np.random.random(), float(torch.rand(()))
    restore_generators({"cpu": states["cpu"]})
    assert float(torch.rand(())) == drawn[2]
    assert (random.random(), np.random.random()) != drawn[:2]
    restore_generators(states)
    assert (random.random(), np.random.random(), float(torch.rand(()))) == drawn


def test_the_same_seed_gives_the_same_run_and_another_does_not():
    first, _ = train()
    again, _ = train()
    other, _ = train(seed=1)
    assert_same_weights(first, again)
    with pytest.raises(AssertionError):
        assert_same_weights(first, other)


def test_training_lowers_the_loss():
    _, rows = train(epochs=30, lr=1e-2)
    assert rows[-1]["train_negative_elbo"] < rows[0]["train_negative_elbo"] - 0.5


def test_rows_hold_terms_that_add_up(tmp_path):
    _, rows = train(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        for part in ("train", "test", "train_last_batch", "test_last_batch"):
            total = row[f"{part}_kl"] + row[f"{part}_reconstruction"]
            assert row[f"{part}_negative_elbo"] == pytest.approx(total, abs=1e-4)
        assert row["test_bits_per_dim"] == pytest.approx(row["test_negative_elbo"] / (16 * math.log(2)))
    run = Run.open(tmp_path / "run")
    assert [row | {"seconds": seconds} for row, seconds in zip(run.metrics(), run.seconds(), strict=True)] == rows


def test_a_full_pass_measures_the_same_images():
    _, rows = train(full_train_pass=True)
    _, running = train()
    assert rows[0]["test_negative_elbo"] == running[0]["test_negative_elbo"]
    assert rows[0]["train_negative_elbo"] != running[0]["train_negative_elbo"]


def test_early_stopping_and_the_best_checkpoint(tmp_path):
    config = {"seed": 0, "num_validation": 20}
    _, rows = train(tmp_path / "run", epochs=300, lr=0.1, num_validation=20, patience=3, config=config)
    scores = [row["validation_negative_elbo"] for row in rows]
    best = scores.index(min(scores)) + 1
    assert len(rows) < 300
    assert len(rows) == best + 3
    assert load(tmp_path / "run").epoch == best
    assert load(tmp_path / "run", "last").epoch == len(rows)


def test_modules_train_on_training_images_and_are_measured_as_they_will_be_used():
    set_seed(0)
    pair = build(PAIR)
    seen = []
    pair["guide"].register_forward_pre_hook(lambda module, _: seen.append((torch.is_grad_enabled(), module.training)))
    fit(pair["model"], pair["guide"], TRAIN, TEST, Settings(**QUICK))
    trial = seen.index((True, False)) + 1  # before training, of which the loss is the last part
    assert set(seen[: trial - 1]) == {(False, False)}
    assert set(seen[trial:]) == {(True, True), (False, False)}


def test_metrics_go_to_tensorboard_too(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, rows = train(tmp_path / "run", tensorboard=True)
    log = events.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    logged = [event.value for event in log.Scalars("test_negative_elbo")]
    assert logged == pytest.approx([row["test_negative_elbo"] for row in rows])


def test_validation_images_are_not_trained_on():
    seen = []

    def spy(self, batch_size, order=None, original=Images.batches):
        if not torch.equal(order, order.sort().values):  # shuffled: an epoch of training
            seen.append(len(order))
        return original(self, batch_size, order)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Images, "batches", spy)
        train(num_validation=20)
    assert set(seen) == {30}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    train(tmp_path / "run", epochs=1, batch_size=50)
    with pytest.raises(FloatingPointError, match="epoch .*checkpoint of epoch"):
        train(tmp_path / "run", resume=True, lr=1e30, epochs=3, batch_size=50)
    assert load(tmp_path / "run").epoch == 1


def test_a_model_that_stopped_on_numbers_too_large_can_be_fitted_to_others():
    """The pass that looks for the site must not leave layers initialised by these numbers."""
    values = torch.randn(40, 2)
    model, settings = DensityModel(vector_realnvp(2, 2, [4])), Settings(epochs=1, batch_size=20)
    with pytest.raises(FloatingPointError):
        fit(model, NoLatents(), Vectors("large", 1e20 * values), settings=settings, show=None)
    (row,) = fit(model, NoLatents(), Vectors("usual", values), settings=settings, show=None)
    assert math.isfinite(row["train_negative_elbo"])


def test_a_run_goes_on_with_the_sets_that_it_began_with(tmp_path):
    train(tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match="begun without validation data: give the same sets"):
        train(tmp_path / "run", resume=True, epochs=2, num_validation=20)
    pair, run = load(tmp_path / "run"), Run.open(tmp_path / "run")
    with pytest.raises(ValueError, match="begun with test data"):
        fit(pair.model, pair.guide, TRAIN, settings=Settings(**QUICK | {"epochs": 2}), run=run, resume=True)
    assert len(Run.open(tmp_path / "run").metrics()) == 1


def test_test_images_that_do_not_suit_the_pair_are_told_before_any_step(tmp_path):
    pair = build(PAIR)
    before = {half: copy.deepcopy(part.state_dict()) for half, part in pair.items()}
    run = Run.create(tmp_path / "run", {}, PAIR)
    with pytest.raises(ValueError, match="is one of pixels with 2 levels, but grey shows it 256"):
        fit(pair["model"], pair["guide"], TRAIN, Images("grey", TEST.pixels, levels=256), Settings(**QUICK), run=run)
    assert not run.has_checkpoint
    for half in ("model", "guide"):
        torch.testing.assert_close(pair[half].state_dict(), before[half], rtol=0, atol=0)


def test_clipping_bounds_the_gradient():
    clipped, _ = train(clip_norm=1e-12, lr=1e-3, epochs=1)
    set_seed(0)
    start = build(PAIR)
    moved = max(
        (a - b).abs().max().item() for a, b in zip(weights(clipped).values(), weights(start).values(), strict=True)
    )
    assert moved < 1e-4  # Adam's epsilon swallows so small a gradient


def test_schedules_begin_and_end_where_they_should():
    assert SCHEDULES["constant"](0.0) == SCHEDULES["constant"](1.0) == 1
    assert SCHEDULES["cosine"](0.0) == 1
    assert SCHEDULES["cosine"](1.0) == pytest.approx(0)
    one_cycle = [SCHEDULES["one_cycle"](i / 1000) for i in range(1001)]
    assert one_cycle[0] == pytest.approx(0.04)
    assert max(one_cycle) == one_cycle[100] == 1
    assert one_cycle[-1] == pytest.approx(0)
    half, quarter = (1 + math.cos(math.pi / 2)) / 2, (1 + math.cos(math.pi / 4)) / 2
    assert [SCHEDULES["cosine"](t) for t in (0.25, 0.5)] == pytest.approx([quarter, half])
    assert one_cycle[50] == pytest.approx(0.04 + 0.96 * half)
    assert [one_cycle[i] for i in (325, 550)] == pytest.approx([quarter, half])
    assert Settings(lr=0.5).lr_at(0.1) == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": -1}, "batch_size"),
        ({"lr": 0.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"seed": -1}, "seed"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"patience": 3}, "num_validation"),
        ({"schedule": "onecycle"}, "onecycle"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"weight_decay": math.nan}, "weight_decay"),
        ({"weight_decay": math.inf}, "weight_decay"),
        ({"device": "tpu"}, "device"),
        ({"mixed_precision": "fp8"}, "mixed_precision"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Settings(**settings)


def test_fractions_of_epochs_are_refused():
    with pytest.raises(TypeError, match="epochs"):
        Settings(epochs=1.5)


def test_a_resumed_run_needs_its_metrics(tmp_path):
    train(tmp_path / "run", epochs=2)
    before = (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes()
    whole = (tmp_path / "run" / "metrics.csv").read_text()
    for content in ("", whole[: whole.rindex("\n", 0, -1) + 1]):
        (tmp_path / "run" / "metrics.csv").write_text(content)
        with pytest.raises(RunError, match="rows but the checkpoint is of epoch 2"):
            train(tmp_path / "run", resume=True)
    for content in (whole[: whole.rindex("\n", 0, -1) + 40], "epoch,seconds\n1,2\n"):
        (tmp_path / "run" / "metrics.csv").write_text(content)
        with pytest.raises(RunError, match="damaged"):
            Run.open(tmp_path / "run").metrics()
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes() == before


def test_a_run_without_a_finished_epoch_is_no_obstacle(tmp_path):
    Run.create(tmp_path / "run", {"seed": 0}, PAIR)
    train(tmp_path / "run", epochs=1)


class NoDifferentiableLoss(Trace_ELBO):
    def differentiable_loss(self, *arguments):
        raise NotImplementedError("not for training")


@pytest.mark.parametrize("broken", ["objective", "levels", "program", "nothing to train"])
def test_a_pair_is_tried_before_it_is_trained(broken):
    pair = build(PAIR)
    objective, images_ = Trace_ELBO(), TRAIN
    if broken == "objective":
        objective = NoDifferentiableLoss()
    elif broken == "levels":
        images_ = Images("grey", TRAIN.pixels, TRAIN.labels, 256)
    elif broken == "program":
        pair["guide"].encoder = torch.nn.Identity()
    else:
        for half in pair.values():
            half.requires_grad_(False)
    with pytest.raises(ValueError, match="not for training|256|cannot be run|nothing to train") as caught:
        fit(pair["model"], pair["guide"], images_, TEST, Settings(**QUICK), objective)
    assert "\n" not in str(caught.value)


def test_more_validation_than_images_is_refused():
    with pytest.raises(ValueError, match="below the 50 training observations"):
        train(num_validation=50)


def test_nothing_to_resume_without_a_folder():
    pair = build(PAIR)
    with pytest.raises(ValueError, match="nothing to resume"):
        fit(pair["model"], pair["guide"], TRAIN, TEST, Settings(**QUICK), resume=True)


# run folders and checkpoints


def test_a_loaded_pair_is_the_trained_one(tmp_path):
    pair, _ = train(tmp_path / "run")
    loaded = load(tmp_path / "run")
    assert_same_weights(pair, {"model": loaded.model, "guide": loaded.guide})
    assert not loaded.model.training
    assert loaded.epoch == 4
    assert loaded.config == {"seed": 0}


def test_a_pair_in_double_precision_is_loaded_so_whether_the_options_say_it_or_not(tmp_path):
    flow = {"class_path": "pyro_models.vector_realnvp", "init_args": {"size": 3, "couplings": 2, "hidden": [4]}}
    description = {
        "model": {"class_path": "pyro_models.DensityModel", "init_args": {"flow": flow}},
        "guide": {"class_path": "pyro_models.NoLatents", "init_args": {}},
    }
    pair = build(description)
    data = Vectors("points", torch.randn(30, 3, dtype=torch.float64))
    run = Run.create(tmp_path / "run", {"seed": 0}, description)
    settings = Settings(epochs=1, batch_size=10, device="cpu")
    fit(pair["model"].double(), pair["guide"], data, data, settings, run=run, show=None)
    loaded = load(run.path)
    assert {value.dtype for value in loaded.model.parameters()} == {torch.float64}
    assert_same_weights(pair, {"model": loaded.model, "guide": loaded.guide})


def test_a_run_is_not_written_over(tmp_path):
    train(tmp_path / "run", epochs=1)
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    with pytest.raises(RunError, match="--resume.*--overwrite"):
        Run.create(tmp_path / "run", {}, PAIR)
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before
    run = Run.create(tmp_path / "run", {"seed": 5}, PAIR, overwrite=True)
    assert run.metrics() == []
    assert load(tmp_path / "run").config == {"seed": 0}  # until the new one has a checkpoint


def test_a_trained_run_is_fitted_again_only_if_that_is_said(tmp_path):
    train(tmp_path / "run", epochs=1)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").rglob("*.*") if file.is_file()}
    with pytest.raises(RunError, match="resume=True continues it"):
        fit(*build(PAIR).values(), TRAIN, TEST, Settings(**QUICK), run=Run.open(tmp_path / "run"), show=None)
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "run").rglob("*.*") if file.is_file()}


def test_a_folder_of_other_files_is_left_alone_even_to_overwrite(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="not a run's"):
        Run.create(tmp_path, {}, PAIR, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "thesis.tex", {}, PAIR)


def test_environment_says_what_ran(tmp_path):
    found = Run.create(tmp_path / "run", {"seed": 3}, PAIR).environment
    assert found["seed"] == 3
    assert found["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]  # "+cu130" or not
    assert {"command", "commit", "machine", "started", "python"} <= found.keys()


def test_a_copy_inside_another_repository_does_not_take_its_commit(tmp_path, monkeypatch):
    commands = ["init -q", "-c user.name=a -c user.email=b commit -q --allow-empty -m another"]
    for command in commands:
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    (tmp_path / "environment.py").touch()
    assert environment.describe_environment()["commit"] is None
    subprocess.run(["git", "add", "environment.py"], cwd=tmp_path, check=True)
    assert environment.describe_environment()["commit"].endswith("-dirty")


def test_missing_and_incomplete_folders_are_named(tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(RunError, match="config.yaml, model.yaml, environment.json missing"):
        load(tmp_path)
    Run.create(tmp_path / "run", {}, PAIR)
    with pytest.raises(CheckpointError, match=r"no checkpoint .*last\.safetensors"):
        load(tmp_path / "run")


@pytest.mark.parametrize("damage", ["truncate", "foreign", "garbage"])
def test_damaged_checkpoints_are_named(tmp_path, damage):
    train(tmp_path / "run", epochs=1)
    file = tmp_path / "run" / "checkpoints" / "last.safetensors"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-10])
    elif damage == "garbage":
        file.write_bytes(b"\xff" * 500)
    else:
        save_file({"x": torch.zeros(3)}, file)
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        load(tmp_path / "run")


def test_a_checkpoint_of_another_model_is_named(tmp_path):
    train(tmp_path / "run", epochs=1)
    spec = yaml.safe_load((tmp_path / "run" / "model.yaml").read_text())
    spec["model"]["init_args"]["decoder"]["init_args"]["hidden"] = [9]
    (tmp_path / "run" / "model.yaml").write_text(json.dumps(spec))
    with pytest.raises(CheckpointError, match="not made for this model"):
        load(tmp_path / "run")


@pytest.mark.parametrize("groups", [None, [], [{"params": "abc"}], [{"lr": 1.0}], 3])
def test_the_state_of_another_optimiser_is_named(tmp_path, groups):
    train(tmp_path / "run", epochs=1)
    file = tmp_path / "run" / "checkpoints" / "last.safetensors"
    tensors, header = checkpoint._read(file)
    checkpoint._write(file, tensors, header | {"param_groups": groups})
    pair = build(PAIR)
    optimizer = torch.optim.AdamW([*pair["model"].parameters(), *pair["guide"].parameters()])
    with pytest.raises(CheckpointError, match="not made for this model"):
        checkpoint.load_checkpoint(file, *pair.values(), optimizer)


def test_damaged_yaml_is_named(tmp_path):
    run = Run.create(tmp_path / "run", {}, PAIR)
    (run.path / "model.yaml").write_text("{a: [")
    with pytest.raises(RunError, match=r"model\.yaml"):
        load(tmp_path / "run")
    (run.path / "config.yaml").write_text("just words")
    with pytest.raises(RunError, match="expected lines such as `name: value`"):
        load(tmp_path / "run")


# descriptions


@pytest.mark.parametrize(
    "path", ["os.system", "pyro_models.flows.flow.torch.load", "pyro_models.flows.flow.sum_rightmost", "builtins.eval"]
)
def test_a_description_builds_only_what_this_project_defines(path):
    with pytest.raises(ValueError, match="refused|no part"):
        build({"class_path": path, "init_args": {}})


def test_a_user_can_allow_a_package():
    spec = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 3}}
    with pytest.raises(ValueError, match="--allow_import torch"):
        build(spec)
    assert build(spec, allow=("torch",)).weight.shape == (3, 2)
    assert build({"prior": spec}, allow=["torch.nn"])["prior"].weight.shape == (3, 2)
    for path, says in (
        ("torch.load", "no class"),  # a function
        ("torch.nn.functional.F", "no class"),
        ("torch.nn.Module.__init__", "no part"),
        ("torch._C.Graph", "no part"),  # private
        ("torch.utils.data.DataLoader", "cannot be a part"),  # no module
        ("torch.nn.os", "no class"),
    ):
        with pytest.raises(ValueError, match=says):
            build({"class_path": path}, allow=("torch",))


@pytest.mark.parametrize("path", ["pyro_models.Vae", "pyro_models.nothing.X", "Vae", "", "pyro_models.MLP"])
def test_unknown_paths_are_named(path):
    with pytest.raises(ValueError, match="no part|refused"):
        build({"class_path": path})


def test_arguments_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"StandardNormal.*latent"):
        build({"class_path": "pyro_models.StandardNormal", "init_args": {"latent": 3}})


def test_a_run_that_ends_far_above_its_best_epoch_says_so(tmp_path):
    train(tmp_path / "run", epochs=2, schedule="constant", lr=1e-3)
    best = Run.open(tmp_path / "run").best
    said = rf"the training diverged: .* training data was [\d.]+ nats in epoch 2 and is [\d.]+ in .*{best}"
    with pytest.warns(UserWarning, match=said):
        _, rows = train(tmp_path / "run", resume=True, epochs=4, schedule="constant", lr=1.0)
    assert rows[-1]["train_negative_elbo"] > 2 * rows[1]["train_negative_elbo"]


@pytest.mark.parametrize(
    ("values", "diverged"),
    [
        ([100.0, 90.0, 95.0], False),
        ([100.0, 90.0, 140.0], True),
        ([-8.0, -10.0, -5.1], False),  # densities of vectors
        ([-8.0, -10.0, -4.0], True),
        ([0.4, 0.1, 1.0], False),
        ([0.4, 0.1, 1.2], True),
    ],
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_how_far_is_far(values, diverged, split):
    history = History()
    for value in values:
        history.add({"train_negative_elbo": 1.0} | {f"{split}_negative_elbo": value})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history.warn_if_diverged()
    assert [str(warning.message)[:21] for warning in caught] == ["the training diverged"] * diverged
