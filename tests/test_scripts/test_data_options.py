"""Any data from the command line: what is understood is kept, and later commands find the same data or refuse."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from inference import DataError, Reading, RunError, load, open_data
from inference.system.imports import look_here_too
from pyro_models_cli.card import card
from pyro_models_cli.commands.diagnose import DiagnoseOptions, diagnose_run
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.inpaint import inpaint
from pyro_models_cli.commands.report import ReportOptions, report
from pyro_models_cli.commands.sample import SampleOptions, sample
from pyro_models_cli.commands.train_realnvp import TrainRealNVPOptions, train_realnvp
from pyro_models_cli.commands.train_realnvp import parse as parse_realnvp
from pyro_models_cli.commands.train_vae import TrainVAEOptions, train_vae
from pyro_models_cli.commands.train_vae import parse as parse_vae
from pyro_models_cli.data import data_again
from pyro_models_cli.options import ReadingOptions

QUICK = {"epochs": 1, "batch_size": 100, "device": "cpu"}
SMALL_FLOW = {"class_path": "vector_realnvp", "init_args": {"couplings": 2, "hidden": [8]}}
SMALL_VAE = {
    "encoder": {"class_path": "MLPEncoder", "init_args": {"hidden": [8]}},
    "decoder": {"class_path": "MLPDecoder", "init_args": {"hidden": [8]}},
    "latent_dim": 2,
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def table(tmp_path, monkeypatch, rng):
    """A CSV file of 200 rows: three measurements and a species."""
    monkeypatch.chdir(tmp_path)
    species = rng.integers(0, 2, 200)
    rows = rng.normal(size=(200, 3)) * [1, 10, 100] + species[:, None] * [3, 0, 0]
    lines = ["length,width,mass,species"]
    lines += [f"{a},{b},{c},{'sparrow' if s else 'finch'}" for (a, b, c), s in zip(rows, species, strict=True)]
    Path("birds.csv").write_text("\n".join(lines) + "\n")
    return "birds.csv"


def test_the_kind_of_the_data_chooses_the_parts_that_nobody_names(tmp_path):
    def names(parse, *words):
        options = parse([*words, "--out", "x"])
        roles = [choice.role for choice in options.choices]
        return {role: getattr(options, role)["class_path"].rpartition(".")[2] for role in roles}, options

    for dataset, flow, dequantizer in [
        ("digits", "flip_realnvp", "UniformDequantizer"),
        ("moons", "vector_realnvp", "NoLatents"),
    ]:
        found, _ = names(parse_realnvp, "--dataset", dataset)
        assert (found["flow"], found["dequantizer"]) == (flow, dequantizer)
    for dataset, likelihood, binarisation in [
        ("digits", "BernoulliPixels", "dynamic"),
        ("wine", "GaussianVectors", "none"),
    ]:
        found, options = names(parse_vae, "--dataset", dataset)
        assert (found["likelihood"], options.binarisation) == (likelihood, binarisation)
        assert options == TrainVAEOptions(dataset=dataset, out="x")
    found, options = names(parse_realnvp, "--dataset", "moons", "--flow.couplings", "3")
    assert options.flow["init_args"]["couplings"] == 3
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"dataset": "moons"}))
    assert names(parse_realnvp, "--config", str(config))[0]["flow"] == "vector_realnvp"


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        (train_vae, {"dataset": "wine", "likelihood": "BernoulliPixels"}, "is for images.*take GaussianVectors"),
        (train_vae, {"dataset": "wine", "binarisation": "static"}, "binarisation static is for images"),
        (train_vae, {"dataset": "wine", "encoder": "ConvEncoder"}, "(C, H, W)"),
        (train_vae, {"dataset": "digits", "likelihood": "GaussianVectors"}, "is for vectors"),
        (train_realnvp, {"dataset": "wine", "flow": "flip_realnvp"}, "take vector_realnvp or ZukoFlow"),
        (train_realnvp, {"dataset": "digits", "flow": "ZukoFlow"}, "is for vectors"),
        (train_realnvp, {"dataset": "wine", "dequantizer": "UniformDequantizer"}, "take NoLatents"),
        (train_realnvp, {"dataset": "moons", "dtype": "float64", "mixed_precision": "bf16"}, "does not go with"),
    ],
)
def test_parts_for_the_other_kind_of_data_are_refused(train, options, message, tmp_path):
    kind = TrainVAEOptions if train is train_vae else TrainRealNVPOptions
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        train(kind(**options, **QUICK, out=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_a_flow_on_two_moons_from_training_to_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = train_realnvp(TrainRealNVPOptions(dataset="moons", flow=SMALL_FLOW, **QUICK, out="moons"))
    said = capsys.readouterr().out
    assert "moons: 10,000 training and 2,000 test vectors of 2 numbers" in said
    assert run.data is not None
    assert run.data["kind"] == "vectors"
    record = evaluate("moons")
    assert record["exact"]
    assert record["negative_elbo"]["value"] == pytest.approx(run.metrics()[-1]["test_negative_elbo"], abs=1e-4)
    said = capsys.readouterr().out
    assert "negative log p(x)" in said
    assert "in place of" not in said
    assert "| log p(x) |" in card(run, "me/moons")
    assert "1 repeat, nats per vector" in card(run, "me/moons")
    evaluate("moons")
    assert "evaluation.json, in place of an earlier record" in capsys.readouterr().out
    with pytest.raises(ValueError, match="describes a run of train-realnvp: use that command"):
        parse_vae(["--config", "moons/config.yaml", "--out", "other"])
    assert not diagnose_run("moons", DiagnoseOptions(num_images=50, num_weighted=5, num_samples=20)).latents
    assert sample("moons", SampleOptions(num_samples=50)).is_file()
    assert report(["moons"], ReportOptions(out="page")).is_file()


def test_densities_are_those_of_the_data_as_they_came(table):
    """The same density whatever the scaling: a normal fits raw and standardised data alike."""
    run = train_realnvp(TrainRealNVPOptions(dataset=table, label_column="species", flow=SMALL_FLOW, **QUICK, out="run"))
    data = data_again(run, ReadingOptions())
    pair = load("run")
    x = data.train.observe()
    scaled = pair.model.density().log_prob(x).mean()
    assert data.train.log_det < -4  # the standard deviations are near 1, 10 and 100
    expected = -float(scaled.detach()) - data.train.log_det
    values = torch.tensor(
        [[float(v) for v in line.split(",")[:3]] for line in Path(table).read_text().splitlines()[1:]]
    )
    assert torch.cat([data.train.values, data.test.values]).sort(0)[0].allclose(values.sort(0)[0])
    measured = evaluate("run")["negative_elbo"]["value"]
    assert abs(measured - expected) < 3  # the test set is a sample of 20


def test_the_data_are_found_again_from_elsewhere_and_must_be_the_same(table, tmp_path, monkeypatch):
    options = {"label_column": "species", "conditional": True, "flow": SMALL_FLOW, **QUICK}
    train_realnvp(TrainRealNVPOptions(dataset=table, **options, out="run"))
    first = evaluate("run")["negative_elbo"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert evaluate("../run")["negative_elbo"] == first
    shutil.move("../birds.csv", "moved.csv")
    with pytest.raises(DataError, match="--dataset"):
        evaluate("../run")
    assert evaluate("../run", EvaluateOptions(dataset="moved.csv"))["negative_elbo"] == first
    text = Path("moved.csv").read_text()
    Path("moved.csv").write_text(text.replace("finch", "swift"))
    for call in (
        lambda: evaluate("../run", EvaluateOptions(dataset="moved.csv")),
        lambda: report(["../run"], ReportOptions(out="page", dataset="moved.csv")),
        lambda: diagnose_run("../run", DiagnoseOptions(dataset="moved.csv")),
    ):
        with pytest.raises(DataError, match="does not hold the data of this run"):
            call()


def test_a_moved_file_resumes_and_a_changed_one_does_not(table, tmp_path):
    options = {"label_column": "species", "flow": SMALL_FLOW, **QUICK, "epochs": 3}
    whole = train_realnvp(TrainRealNVPOptions(dataset=table, **options, out="whole"))
    train_realnvp(TrainRealNVPOptions(dataset=table, **{**options, "epochs": 1, "schedule": "constant"}, out="part"))
    shutil.move(table, "moved.csv")
    more = {**options, "schedule": "constant"}
    run = train_realnvp(TrainRealNVPOptions(dataset="moved.csv", **more, out="part", resume=True))
    assert len(run.metrics()) == len(whole.metrics()) == 3
    Path("moved.csv").write_text(Path("moved.csv").read_text().replace("1", "2", 5))
    with pytest.raises(DataError, match="does not hold the data of this run"):
        train_realnvp(TrainRealNVPOptions(dataset="moved.csv", **{**more, "epochs": 4}, out="part", resume=True))


def test_double_precision_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_vae(TrainVAEOptions(dataset="wine", dtype="float64", **SMALL_VAE, **QUICK, out="run"))
    pair = load("run")
    kinds = {p.dtype for half in (pair.model, pair.guide) for p in half.state_dict().values() if p.is_floating_point()}
    assert kinds == {torch.float64}
    assert evaluate("run", EvaluateOptions(m=[3], repeats=1))["negative_iwae"]["3"]["value"] > 0


def test_images_of_ones_own(tmp_path, monkeypatch, rng, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez(
        "mine.npz",
        x=rng.integers(0, 256, (60, 6, 6), dtype=np.uint8),
        x_test=rng.integers(0, 256, (9, 6, 6), dtype=np.uint8),
    )
    train_vae(TrainVAEOptions(dataset="mine.npz", **SMALL_VAE, **QUICK, out="vae"))
    assert "60 training and 9 test images of 1 x 6 x 6 (256 levels" in capsys.readouterr().out
    assert report(["vae"], ReportOptions(out="page")).is_file()
    np.save("bits.npy", np.tile([0, 1], (30, 6, 3)).astype(np.uint8))
    for file, drawn in (("mine.npz", True), ("bits.npy", False)):
        train_vae(TrainVAEOptions(dataset=file, **SMALL_VAE, **QUICK, out=file[:4]))
        assert ("seen in black and white" in capsys.readouterr().out) is drawn
    np.save("few.npy", rng.integers(0, 17, (30, 6, 6), dtype=np.uint8))
    with pytest.raises(DataError, match="--levels"):
        train_realnvp(TrainRealNVPOptions(dataset="few.npy", **QUICK, out="flow"))
    run = train_realnvp(TrainRealNVPOptions(dataset="few.npy", levels=17, test_fraction=0.5, **QUICK, out="flow"))
    assert (run.data["num_train"], run.data["num_test"], run.data["levels"]) == (15, 15, 17)
    assert "bits_per_dim" in evaluate("flow")


def test_a_function_of_ones_own_returns_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("own_rings.py").write_text(
        "import torch\n"
        "from inference import Vectors\n\n"
        "def rings():\n"
        "    values = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))\n"
        "    return Vectors('rings', values), Vectors('rings test', values[:10])\n"
    )
    options = {"flow": SMALL_FLOW, **QUICK, "out": "run"}
    with pytest.raises(ValueError, match="--allow_import own_rings"):
        TrainRealNVPOptions(dataset="own_rings.rings", **options)
    typed = parse_realnvp(["--dataset", "own_rings.rings", "--out", "run"])
    assert typed.allow_import == ["own_rings.rings"]
    train_realnvp(TrainRealNVPOptions(dataset="own_rings.rings", allow_import=["own_rings"], **options))
    with pytest.raises(ValueError, match="--allow_import own_rings"):
        evaluate("run")
    assert evaluate("run", EvaluateOptions(allow_import=["own_rings"]))["num_test_images"] == 10
    config = tmp_path / "theirs.yaml"
    config.write_text(yaml.safe_dump({"dataset": "own_rings.rings"}))
    with pytest.raises(ValueError, match="--allow_import own_rings"):
        parse_realnvp(["--config", str(config), "--out", "new"])


def test_without_a_test_set_a_run_trains_but_is_not_evaluated(table):
    options = TrainRealNVPOptions(
        dataset=table, label_column="species", test_fraction=0, flow=SMALL_FLOW, **QUICK, out="r"
    )
    run = train_realnvp(options)
    assert "test_negative_elbo" not in run.metrics()[0]
    with pytest.raises(DataError, match="without a test set"):
        evaluate("r")
    assert report(["r"], ReportOptions(out="page")).is_file()


def test_the_record_of_the_data_is_plain_and_says_what_was_understood(table):
    run = train_realnvp(TrainRealNVPOptions(dataset=table, label_column="species", flow=SMALL_FLOW, **QUICK, out="run"))
    record = json.loads((run.path / "data.json").read_text())
    assert record["classes"] == ["finch", "sparrow"]
    assert record["path"] == str(Path(table).resolve())
    assert len(record["sha256"]) == 64
    assert (record["num_train"], record["num_test"]) == (180, 20)
    assert record["scale"][2] > 50


def test_a_run_is_resumed_from_elsewhere_and_records_the_new_place(table, tmp_path, monkeypatch):
    options = {"label_column": "species", "flow": SMALL_FLOW, **QUICK, "schedule": "constant"}
    train_realnvp(TrainRealNVPOptions(dataset=table, **options, out="run"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    Path(table).write_text("a,b\n" + "1,2\n2,1\n" * 20)  # another file of that name
    run = train_realnvp(parse_realnvp(["--out", "../run", "--resume", "--epochs", "2"]))
    assert len(run.metrics()) == 2
    assert evaluate("../run")["num_test_images"] == 20
    shutil.move("../birds.csv", "moved.csv")
    run = train_realnvp(parse_realnvp(["--out", "../run", "--resume", "--epochs", "3", "--dataset", "moved.csv"]))
    assert run.data["path"] == str(elsewhere / "moved.csv")
    assert run.config["dataset"] == "moved.csv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": "foo"}, "scaling must be one of"),
        ({"levels": "3"}, "levels as '3': expected a whole number"),
        ({"test_fraction": "x"}, "test_fraction as 'x': expected a number"),
        ({"data_root": [1]}, "data_root as"),
    ],
)
def test_a_configuration_that_was_edited_is_refused(table, change, message):
    run = train_realnvp(TrainRealNVPOptions(dataset=table, label_column="species", flow=SMALL_FLOW, **QUICK, out="run"))
    run.write_config({**run.config, **change})
    with pytest.raises(ValueError, match=message):
        evaluate("run")


def test_a_record_that_was_edited_is_refused(table):
    run = train_realnvp(TrainRealNVPOptions(dataset=table, label_column="species", flow=SMALL_FLOW, **QUICK, out="run"))
    run.write_data({**run.data, "path": [1]})
    with pytest.raises(RunError, match="path cannot be"):
        evaluate("run")


def test_draws_never_replace_a_table(table):
    options = {"label_column": "species", "conditional": True, "flow": SMALL_FLOW, **QUICK}
    train_realnvp(TrainRealNVPOptions(dataset=table, **options, out="run"))
    before = Path(table).read_text()
    with pytest.raises(ValueError, match="exists"):
        sample("run", SampleOptions(out=table))
    assert Path(table).read_text() == before
    sample("run", SampleOptions(num_samples=3, out="draws.csv"))
    lines = Path("draws.csv").read_text().splitlines()
    assert lines[0] == "length,width,mass,species"  # the names in the header of the data
    assert [line.rsplit(",", 1)[1] for line in lines[1:]] == ["finch"] * 3 + ["sparrow"] * 3
    drawn = open_data("draws.csv", Reading(label_column="species", test_fraction=0))
    assert drawn.record["classes"] == ["finch", "sparrow"]
    assert drawn.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_options_of_the_training_data_do_not_get_in_the_way_of_other_data(table):
    train_realnvp(TrainRealNVPOptions(dataset=table, label_column="species", flow=SMALL_FLOW, **QUICK, out="run"))
    with pytest.raises(DataError, match="the kind was vectors, and is images now"):
        evaluate("run", EvaluateOptions(dataset="digits"))
    with pytest.raises(ValueError, match="inpainting is of images|only a flow of images"):
        inpaint("run")


def test_a_misspelt_file_is_missed_as_a_file(table):
    with pytest.raises(ValueError, match=r"no data set, file or folder 'birds.cvs'.*did you mean birds.csv\?"):
        open_data("birds.cvs")
    with pytest.raises(ValueError, match=r"did you mean moons\?"):
        open_data("moon")
    Path("birds_of_test.py").write_text("import not_installed_here\n")
    look_here_too(["birds_of_test"])
    with pytest.raises(ValueError, match="cannot import birds_of_test .*not_installed_here"):
        open_data("birds_of_test.load")


def test_a_report_refuses_a_run_before_it_works_on_the_others(table, capsys):
    for out in ("run", "other"):
        train_realnvp(TrainRealNVPOptions(dataset=table, label_column="species", flow=SMALL_FLOW, **QUICK, out=out))
    file = Path("other/model.yaml")
    file.write_text(file.read_text().replace("pyro_models.NoLatents", "mine_for_test.Nothing"))
    capsys.readouterr()
    with pytest.raises(ValueError, match="refused to import 'mine_for_test.Nothing'"):
        report(["run", "other"], ReportOptions(out="page"))
    assert "report on" not in capsys.readouterr().err
    assert not Path("page/figures").exists()


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("odd.csv").write_text("".join(f"{i},{i * i % 7},{chr(27)}[3{i % 2}m\n" for i in range(40)))
    train_realnvp(TrainRealNVPOptions(dataset="odd.csv", label_column="3", flow=SMALL_FLOW, **QUICK, out="run"))
    assert chr(27) not in capsys.readouterr().out


def test_double_precision_is_for_vectors(tmp_path):
    with pytest.raises(ValueError, match="dtype float64 is for vectors"):
        train_vae(TrainVAEOptions(dataset="digits", dtype="float64", **QUICK, out=str(tmp_path / "run")))


def test_a_limit_that_is_on_by_default_is_lifted_by_infinity_and_not_by_null():
    given = ["--dataset", "digits", "--out", "run", "--clip_norm"]
    assert parse_realnvp([*given, ".inf"]).config["clip_norm"] == math.inf
    with pytest.raises(ValueError, match="--clip_norm: Expected a number"):
        parse_realnvp([*given, "null"])
