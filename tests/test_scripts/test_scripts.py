"""The command line, from end to end on the digits, and what it says to bad input."""

import copy
import csv
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, as_a_build_for_cuda
from PIL import Image

import pyro_models_cli.commands.train_vae as train_vae
from inference import Run, load

SCRIPTS = ROOT / "scripts"
QUICK = ["--dataset", "digits", "--epochs", "2", "--device", "cpu"]
SMALL_VAE = [*QUICK, "--latent_dim", "3", "--encoder.hidden", "[8]", "--decoder.hidden", "[8]"]
SMALL_FLOW = [*QUICK, "--flow.hidden", "[8]", "--flow.pairs", "2"]


class Outcome:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs a script in this process."""

    def run(name: str, *arguments) -> Outcome:
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS / name), *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Small runs, two of them evaluated, made as a person would."""
    folder = tmp_path_factory.mktemp("runs")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in (
        ["train_vae.py", *SMALL_VAE, "--out", "vae"],
        ["evaluate.py", "vae", "--m", "2", "4", "--repeats", "2", "--result", "out/vae.json"],
        ["train_realnvp.py", *SMALL_FLOW, "--out", "realnvp"],
        ["evaluate.py", "realnvp", "--repeats", "2"],
        ["train_realnvp.py", *SMALL_FLOW, "--conditional", "--out", "conditional"],
    ):
        command = [sys.executable, str(SCRIPTS / command[0]), *command[1:]]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_run_folder_holds_what_it_should(runs):
    for name in ("vae", "realnvp"):
        files = {p.relative_to(runs / name).as_posix() for p in (runs / name).rglob("*") if p.is_file()}
        assert {
            "config.yaml",
            "model.yaml",
            "metrics.csv",
            "environment.json",
            "evaluation.json",
            "checkpoints/last.safetensors",
            "checkpoints/best.safetensors",
        } <= files
        with (runs / name / "metrics.csv").open() as lines:
            assert len(list(csv.DictReader(lines))) == 2


def test_latent_dim_is_given_once(runs):
    pair = load(runs / "vae")
    assert pair.model.prior().event_shape == (3,)
    assert pair.guide.head.out_features == 6


def test_the_record_of_an_evaluation(runs):
    record = json.loads((runs / "out" / "vae.json").read_text())
    assert record == json.loads((runs / "vae" / "evaluation.json").read_text())
    assert record["binarisation"] == "dynamic"
    assert (record["num_test_images"], record["repeats"], record["seed"]) == (359, 2, 0)
    assert set(record["negative_iwae"]) == {"2", "4"}
    assert record["negative_iwae"]["4"]["value"] < record["negative_elbo"]["value"]
    assert record["negative_elbo"]["standard_error"] > 0
    assert "train_vae.py" in record["command"]
    assert "evaluate.py" in record["command"]
    assert {"commit", "machine", "minutes", "units"} <= record.keys()
    bits = json.loads((runs / "realnvp" / "evaluation.json").read_text())["bits_per_dim"]
    assert set(bits) == {"1", "8"}
    assert bits["8"]["value"] < bits["1"]["value"]


def test_the_log_likelihood_estimate(runs, script):
    outcome = script("evaluate.py", runs / "vae", "--m", 2, "--repeats", 1, "--num_images", 5, "--num_samples", 50)
    assert outcome.code == 0, outcome.err
    record = json.loads((runs / "vae" / "evaluation_first_5.json").read_text())
    assert record["num_test_images"] == 5
    assert json.loads((runs / "vae" / "evaluation.json").read_text())["num_test_images"] == 359
    assert record["negative_log_likelihood"]["num_samples"] == 50
    assert record["negative_log_likelihood"]["standard_error"] is None
    error = record["negative_log_likelihood"]["standard_error_over_images"]
    numbers, place = outcome.out.splitlines()[-2:]
    assert f"± {error:.3f} nats" in numbers  # one repeat's own, beside a table of many
    assert place == f"kept in {runs / 'vae' / 'evaluation_first_5.json'}"


def test_samples_and_report(runs, script):
    assert script("sample.py", runs / "realnvp", "--num_samples", 5, "--out", runs / "s.png").code == 0
    assert (runs / "s.png").read_bytes()[:4] == b"\x89PNG"
    outcome = script("report.py", runs / "vae", runs / "realnvp", "--out", runs / "report")
    assert outcome.code == 0, outcome.err
    page = (runs / "report" / "report.html").read_text()
    figures, tables = 11, 2
    assert [f"Figure {i}." in page for i in range(1, figures + 2)] == [True] * figures + [False]
    assert [f"Table {i}." in page for i in range(1, tables + 2)] == [True] * tables + [False]
    assert page.count('src="data:image/png;base64,') == figures
    assert len(list((runs / "report").glob("*.png"))) == figures
    assert 'src="http' not in page
    assert "Assumptions" in page
    assert "16 random samples" in page


def test_a_conditional_run_draws_evaluates_reports_and_resumes(runs, script, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs / "conditional", run)
    assert load(run).model.num_classes == 10
    assert script("sample.py", run, "--num_samples", 3).code == 0
    with Image.open(run / "figures" / "samples.png") as picture:
        assert 2.5 < picture.height / picture.width < 3.5  # a row of three for each of ten classes
    outcome = script("evaluate.py", run, "--m", 4, 2, "--repeats", 1)
    assert outcome.code == 0, outcome.err
    assert "given the label" in outcome.out
    record = json.loads((run / "evaluation.json").read_text())
    assert record["conditional"] is True
    outcome = script("report.py", run, "--out", tmp_path / "report")
    assert outcome.code == 0, outcome.err
    page = (tmp_path / "report" / "report.html").read_text()
    assert "given the labels 0 to 9" in page
    assert "test images, integer pixels, given the label" in page
    for m in ("2", "4"):  # nats and bits of one bound stand in one row
        nats, bits = record["negative_iwae"][m]["value"], record["bits_per_dim"][m]["value"]
        row = page.split(f"m = {m}<")[1].split("</tr>")[0]
        assert f"{nats:.3f}" in row
        assert f"{bits:.4f}" in row
    outcome = script("train_realnvp.py", "--resume", "--out", run, "--epochs", 1)
    assert (outcome.code, outcome.out) == (2, "")
    assert "give --epochs 2 or more" in outcome.err
    outcome = script("train_realnvp.py", "--resume", "--out", run, "--epochs", 3)
    assert outcome.code == 0, outcome.err
    assert len(Run.open(run).metrics()) == 3
    assert Run.open(run).config["conditional"] is True


COMBINATIONS = {
    "vamp": ["--prior", "VampPrior", "--prior.num_components", 5],
    "flow and iaf": ["--prior", "FlowPrior", "--guide", "IAFGuide", "--guide.hidden", "[8]", "--objective", "DReG"],
    "spline and flow": ["--prior", "ZukoPrior", "--guide", "FlowGuide", "--objective", "STL"],
    "semi-amortised": ["--guide", "SemiAmortizedGuide", "--guide.steps", 1],
    "two layers": ["--model", "TwoLevelVAE", "--guide", "TwoLevelGuide", "--top_dim", 2, "--objective", "RenyiELBO"],
    "top down": ["--model", "TwoLevelVAE", "--model.skip", "true", "--guide", "TopDownGuide", "--prior", "VampPrior"],
    "autoregressive": ["--likelihood", "AutoregressivePixels", "--likelihood.sight", 8],
    "pixel CNN": ["--likelihood", "PixelCNNPixels", "--likelihood.channels", 4, "--decoder", "ConvDecoder"],
    "grey": ["--binarisation", "none", "--likelihood", "LogisticPixels", "--decoder", "ConvDecoder"],
    "conditional": ["--conditional", "--prior", "ClassNormal", "--encoder", "ConvEncoder", "--encoder.channels", 4],
    "annealed": ["--objective", "BetaELBO", "--objective.warm_up", 0.5, "--objective.free_bits", 0.1],
}


def test_a_part_that_is_named_has_its_own_defaults(script, tmp_path):
    """The default objective has one particle: it must not hand that on to others."""
    assert script("train_vae.py", *SMALL_VAE, "--objective", "DReG", "--out", tmp_path / "a").code == 0
    assert Run.open(tmp_path / "a").config["objective"]["init_args"] == {"num_particles": 5}
    before = ["--config", tmp_path / "a" / "config.yaml"]
    asked = [
        *before,
        "--objective=RenyiELBO",
        "--objective.alpha",
        0.5,
        "--prior",
        "VampPrior",
        "--out",
        tmp_path / "b",
    ]
    outcome = script("train_vae.py", *asked)
    assert outcome.code == 0, outcome.err
    config = Run.open(tmp_path / "b").config
    assert config["objective"]["init_args"] == {"alpha": 0.5, "num_particles": 5}
    assert config["prior"]["init_args"] == {"num_components": 50}
    assert config["latent_dim"] == 3
    assert script("train_vae.py", *before, "--objective.num_particles", 2, "--out", tmp_path / "c").code == 0
    assert script("train_vae.py", "--config", tmp_path / "c" / "config.yaml", "--out", tmp_path / "d").code == 0
    assert Run.open(tmp_path / "d").config["objective"]["init_args"] == {"num_particles": 2}


REPORTED = {
    "spline and flow",
    "top down",
    "autoregressive",
    "pixel CNN",
    "grey",
    "conditional",
}  # one of each kind of picture


@pytest.mark.parametrize("name", COMBINATIONS)
def test_parts_train_evaluate_diagnose_and_resume(script, tmp_path, name):
    run = tmp_path / "run"
    parts = [*QUICK, "--latent_dim", 4, "--batch_size", 500, *COMBINATIONS[name]]
    outcome = script("train_vae.py", *parts, "--out", run)
    assert outcome.code == 0, outcome.err
    outcome = script("evaluate.py", run, "--m", 2, "--repeats", 1, "--num_images", 20)
    assert outcome.code == 0, outcome.err
    outcome = script("diagnose.py", run, "--num_images", 30, "--num_weighted", 3, "--num_samples", 20)
    assert outcome.code == 0, outcome.err
    assert "coordinates are active" in outcome.out or "collapsed" in outcome.out
    diagnosis = json.loads((run / "diagnosis.json").read_text())
    assert len(diagnosis["latents"]) == (2 if name in ("two layers", "top down") else 1)
    assert script("sample.py", run, "--num_samples", 2).code == 0
    if name in REPORTED:
        outcome = script("report.py", run, "--out", tmp_path / "report")
        assert outcome.code == 0, outcome.err
    outcome = script("train_vae.py", "--resume", "--out", run, "--epochs", 3)
    assert outcome.code == 0, outcome.err
    assert len(Run.open(run).metrics()) == 3


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["--prior", "VampPrior", "--guide", "SemiAmortizedGuide"], "each need the other"),
        (["--prior", "VampPrior", "--conditional"], "takes labels"),
        (["--model", "TwoLevelVAE", "--guide", "SemiAmortizedGuide"], "two codes"),
        (["--likelihood", "AutoregressivePixels", "--likelihood.sight", 0], "sight must be at least 1"),
        (["--likelihood", "PixelCNNPixels", "--likelihood.convolutions", 3], "fewer than the pixels in sight, 3"),
        (["--likelihood", "PixelCNNPixels", "--binarisation", "none"], "binarise the images"),
        (["--model", "TwoLevelVAE", "--guide", "TwoLevelGuide", "--prior", "VampPrior"], "latent 'z2' has event shape"),
        (["--guide", "TwoLevelGuide"], "must draw the same latents"),
        (["--guide", "SemiAmortizedGuide", "--objective", "DReG"], "is random"),
        (["--prior", "ClassNormal"], "for conditional models"),
        (["--binarisation", "none"], "binarise the images"),
        (["--objective", "RenyiELBO", "--objective.num_particles", 0], "num_particles"),
        (["--prior", "ZukoPrior", "--prior.kind", "Nonsense"], "prior.kind"),
        (
            ["--model", "TwoLevelVAE", "--guide", "TwoLevelGuide", "--objective", "TraceMeanField_ELBO"],
            "mean field restriction",
        ),
    ],
)
def test_combinations_that_make_no_sense_are_told_in_one_line(script, tmp_path, parts, message):
    outcome = script("train_vae.py", *QUICK, "--latent_dim", 4, *parts, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("known", ["top", "left", "frame", "scattered"])
def test_inpainting(runs, script, tmp_path, known):
    out = tmp_path / "inpainting.png"
    short = ["--num_images", 1, "--num_chains", 1, "--num_samples", 2, "--warm_up", 1, "--known", known]
    outcome = script("inpaint.py", runs / "realnvp", *short, "--out", out)
    assert outcome.code == 0, outcome.err
    with Image.open(out) as picture:
        assert picture.width == pytest.approx(5 * picture.height, rel=0.2)  # image, seen, two draws, mean


def test_inpainting_wants_a_flow(runs, script):
    outcome = script("inpaint.py", runs / "vae")
    assert (outcome.code, outcome.out) == (2, "")
    assert "only a flow of images can complete images" in outcome.err
    outcome = script("inpaint.py", runs / "realnvp", "--num_samples", 0)
    assert (outcome.code, outcome.out) == (2, "")
    assert "num_samples must be at least 1" in outcome.err


def test_config_of_a_run_repeats_it(runs, script, tmp_path):
    assert script("train_vae.py", "--config", runs / "vae" / "config.yaml", "--out", tmp_path / "again").code == 0
    first, again = (Run.open(path).metrics() for path in (runs / "vae", tmp_path / "again"))
    assert first[-1]["test_negative_elbo"] == pytest.approx(again[-1]["test_negative_elbo"], rel=1e-5)


def test_config_of_a_run_never_overwrites_it(script, tmp_path):
    out = tmp_path / "run"
    assert script("train_vae.py", *SMALL_VAE, "--out", out, "--overwrite").code == 0
    assert script("train_vae.py", "--out", out, "--resume", "--epochs", 3).code == 0
    before = contents(out)
    for where, code, says in (([], 2, "--out"), (["--out", out], 1, "already holds a run")):
        outcome = script("train_vae.py", "--config", out / "config.yaml", *where)
        assert outcome.code == code
        assert says in outcome.err
    assert contents(out) == before


def test_resume_goes_on_with_the_runs_own_options(script, tmp_path):
    out = tmp_path / "run"
    assert script("train_vae.py", *SMALL_VAE, "--out", out).code == 0
    assert script("train_vae.py", "--out", out, "--resume", "--epochs", 3).code == 0
    assert [row["epoch"] for row in Run.open(out).metrics()] == [1, 2, 3]
    assert load(out).model.prior().event_shape == (3,)
    assert Run.open(out).config["epochs"] == 3


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "change",
    [
        ["--decoder.activation", "ReLU"],
        ["--latent_dim", "4"],
        ["--binarisation", "threshold"],
        ["--batch_size", "7"],
        ["--prior", "GaussianMixture"],
    ],
    ids=" ".join,
)
def test_resume_refuses_to_become_another_run(runs, script, change):
    before = contents(runs / "vae")
    outcome = script("train_vae.py", "--out", runs / "vae", "--resume", "--epochs", 3, *change)
    assert outcome.code == 2
    assert change[0].removeprefix("--").split(".")[0] in outcome.err
    assert contents(runs / "vae") == before


def test_a_run_made_before_an_option_existed_is_continued(script, tmp_path):
    out = tmp_path / "run"
    assert script("train_vae.py", *SMALL_VAE, "--prior", "VampPrior", "--out", out).code == 0
    config = Run.open(out).config
    del config["on_nonfinite"], config["prior"]["init_args"]
    Run.open(out).write_config(config)
    outcome = script("train_vae.py", "--out", out, "--resume", "--epochs", 3)
    assert outcome.code == 0, outcome.err


def test_overwrite_keeps_the_old_run_where_the_new_one_cannot_work(runs, script):
    before = contents(runs / "vae")
    for broken in (["--num_validation", 5000], ["--objective", "pyro.infer.RenyiELBO"]):
        outcome = script("train_vae.py", *SMALL_VAE, *broken, "--out", runs / "vae", "--overwrite")
        assert outcome.code == 2
        assert len(outcome.err.strip().splitlines()) == 1
    assert contents(runs / "vae") == before


def test_a_report_leaves_out_an_evaluation_of_other_weights(script, tmp_path):
    out = tmp_path / "run"
    assert script("train_vae.py", *SMALL_VAE, "--out", out).code == 0
    assert script("evaluate.py", out, "--m", 2, "--repeats", 1).code == 0
    assert script("report.py", out, "--out", tmp_path / "with").code == 0
    assert script("train_vae.py", "--out", out, "--resume", "--epochs", 3).code == 0
    assert script("report.py", out, "--out", tmp_path / "without").code == 0
    pages = [(tmp_path / name / "report.html").read_text() for name in ("with", "without")]
    assert ["Table 1." in page for page in pages] == [True, False]


def test_parts_swap_by_name_with_their_options(script, tmp_path):
    options = ["--prior", "GaussianMixture", "--prior.num_components", 4, "--objective", "TraceMeanField_ELBO"]
    outcome = script("train_vae.py", *SMALL_VAE, *options, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert load(tmp_path / "run").model.prior.loc.shape == (4, 3)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["objective"]["class_path"].endswith(".TraceMeanField_ELBO")


MINE = '''
import pyro.distributions as dist
import torch
from torch import nn


class Laplace(nn.Module):
    """A prior with heavier tails.

    Args:
        latent_dim: size of the code.
        scale: of the density.
    """

    def __init__(self, latent_dim: int, scale: float = 1.0):
        super().__init__()
        self.latent_dim, self.scale = latent_dim, scale

    def forward(self):
        return dist.Laplace(torch.zeros(self.latent_dim), self.scale).to_event(1)
'''


def test_a_part_of_the_users_own(script, tmp_path, monkeypatch):
    (tmp_path / "mine_for_test.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    options = ["--prior", "mine_for_test.Laplace", "--prior.scale", "0.7"]
    assert script("train_vae.py", *SMALL_VAE, *options, "--out", "run").code == 0
    refused = script("evaluate.py", "run", "--m", 2, "--repeats", 1)
    assert refused.code == 2
    assert "--allow_import mine_for_test" in refused.err
    evaluated = script("evaluate.py", "run", "--m", 2, "--repeats", 1, "--allow_import", "mine_for_test")
    assert evaluated.code == 0, evaluated.err
    again = ["--out", "run", "--resume", "--epochs", 3]
    refused = script("train_vae.py", *again)
    assert refused.code == 2
    assert "--allow_import mine_for_test" in refused.err
    assert script("train_vae.py", *again, "--allow_import", "mine_for_test").code == 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("def __init__(self, latent_dim: int): raise KeyError('lost')", "lost"),
        ("def __init__(self, latent_dim: int): super().__init__()\n    def forward(self): return 3", "cannot be run"),
        (
            "def __init__(self, latent_dim: int): super().__init__()\n"
            "    def forward(self): return dist.Normal(torch.zeros(5), 1.0).to_event(1)",
            "latent 'z'",
        ),
    ],
)
def test_a_broken_part_of_the_users_own_gets_one_line(script, tmp_path, monkeypatch, body, says):
    name = f"broken_{abs(hash(body))}"
    source = (
        f"import pyro.distributions as dist\nimport torch\nfrom torch import nn\nclass Mine(nn.Module):\n    {body}\n"
    )
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    outcome = script("train_vae.py", *SMALL_VAE, "--prior", f"{name}.Mine", "--out", "run")
    assert outcome.code in (1, 2)
    assert says in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("environment.json", "{}"),
        ("config.yaml", "{}"),
        ("model.yaml", "{}"),
        ("model.yaml", "model: 3"),
        ("metrics.csv", "epoch\n1\n"),
        ("metrics.csv", "epoch,seconds\n1\n"),
        ("evaluation.json", "{"),
        ("evaluation.json", '{"epochs": 2}'),
    ],
)
def test_edited_run_folders_get_one_line(runs, script, tmp_path, file, content):
    shutil.copytree(runs / "vae", tmp_path / "vae")
    (tmp_path / "vae" / file).write_text(content)
    outcome = script("report.py", tmp_path / "vae", "--out", tmp_path / "report")
    assert outcome.code == 1
    assert len(outcome.err.strip().splitlines()) == 1


def test_a_result_that_cannot_be_written_is_known_before_the_work(runs, script):
    outcome = script("evaluate.py", runs / "vae", "--result", runs / "vae" / "config.yaml" / "x.json")
    assert outcome.code == 1
    assert "bounds" not in outcome.out


def test_samples_are_a_png_file(runs, script):
    outcome = script("sample.py", runs / "vae", "--out", runs / "samples")
    assert outcome.code == 2
    assert ".png" in outcome.err


def test_the_course_configuration(script, tmp_path):
    course = [
        "--config",
        ROOT / "pyro_models_cli" / "configs" / "vae_course.yaml",
        "--dataset",
        "digits",
        "--epochs",
        1,
    ]
    assert script("train_vae.py", *course, "--out", tmp_path / "run").code == 0
    pair = load(tmp_path / "run")
    assert [layer.out_features for layer in pair.model.decoder.net.trunk[::2]] == [300, 300]
    assert pair.model.prior().event_shape == (10,)


def test_bare_svi_takes_the_steps_of_the_training_loop():
    import pyro

    from inference import Settings, binarise, fit, load_dataset, set_seed
    from inference.system.randomness import epoch_order
    from pyro_models import (
        VAE,
        FlowModel,
        MeanFieldGuide,
        MLPDecoder,
        MLPEncoder,
        StandardNormal,
        UniformDequantizer,
        flip_realnvp,
    )

    def vae(images):
        encoder = MLPEncoder(images.image_shape, hidden=[50])
        return VAE(StandardNormal(8), MLPDecoder(8, images.image_shape, hidden=[50])), MeanFieldGuide(encoder, 8)

    def flow(images):
        return FlowModel(flip_realnvp(images.image_shape, hidden=[50]), images.levels), UniformDequantizer(
            images.levels
        )

    train = load_dataset("digits")[0].take(slice(200))
    for make, images in ((vae, binarise(train, "dynamic")), (flow, train)):
        set_seed(0)
        by_loop = make(images)
        by_svi = copy.deepcopy(by_loop)
        settings = Settings(epochs=2, batch_size=100, schedule="constant", device="cpu")
        fit(*by_loop, images, images, settings)
        svi = pyro.infer.SVI(*by_svi, pyro.optim.Adam({"lr": 1e-3}), pyro.infer.Trace_ELBO())
        for epoch in range(2):
            set_seed(0, epoch, 0, 0)
            for data in images.batches(100, epoch_order(len(images), 0, epoch)):
                svi.step(*data)
        for a, b in zip(*([p for part in pair for p in part.parameters()] for pair in (by_loop, by_svi)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


# bad input: one line, the right code, nothing written

TAKEN = {"sub/file.txt": "keep me"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train_vae.py", "--out", "new", "--dataset", "mnits"], 2, "mnist"),
        (["train_vae.py", "--out", "new", "--prior", "Gaussian"], 2, "did you mean GaussianMixture"),
        (["train_vae.py", "--out", "new", "--prior=StandarNormal"], 2, "did you mean StandardNormal"),
        (["train_vae.py", "--out", "new", "--prior", "no.such.Prior"], 2, "no.such"),
        (["train_vae.py", "--out", "new", "--prior.width", "3"], 2, "width"),
        (["train_vae.py", "--out", "new", "--objective", "ELBO"], 2, "Trace_ELBO"),
        (["train_vae.py", "--out", "new", "--latent_dim", "0"], 2, "latent_dim"),
        (["train_vae.py", "--out", "new", "--decoder.hidden", "[8,-1]"], 2, "layer sizes"),
        (["train_vae.py", "--out", "new", "--decoder.activation", "Elu"], 2, "Elu"),
        (["train_vae.py", "--out", "new", "--epochs", "0"], 2, "epochs"),
        (["train_vae.py", "--out", "new", "--batch_size", "-5"], 2, "batch_size"),
        (["train_vae.py", "--out", "new", "--lr", "nan"], 2, "lr"),
        (["train_vae.py", "--out", "new", "--binarisation", "dynamicc"], 2, "threshold"),
        (["train_vae.py", "--out", "new", "--nonsense", "1"], 2, "nonsense"),
        (["train_vae.py", "--out", "new", "--config", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["train_vae.py", "--out", "new", "--epoch", "3"], 2, "epoch"),
        (["train_vae.py", "--out", "new", "--decoder", "pyro_models.MLPEncoder"], 2, "unknown decoder"),
        (["train_vae.py", "--out", "new", "--objective", "pyro.infer.TraceGraph_ELBO"], 2, "cannot be run together"),
        (["train_vae.py"], 2, "out"),
        (["train_vae.py", "--out", "new", "--resume"], 1, "no run to resume"),
        (["train_vae.py", "--out", "sub"], 1, "not a run's"),
        (["train_vae.py", "--out", "sub", "--overwrite"], 1, "not a run's"),
        (["train_vae.py", "--out", "sub/file.txt"], 1, "is a file"),
        (["train_realnvp.py", "--out", "new", "--flow.pairs", "0"], 2, "pairs"),
        (["train_realnvp.py", "--out", "new", "--flow", "flip_realnpv"], 2, "did you mean flip_realnvp"),
        (["train_realnvp.py", "--out", "new", "--flow.alpha", "0.7"], 2, "alpha"),
        (["evaluate.py", "nowhere"], 1, "no run folder"),
        (["evaluate.py", "sub"], 1, "not a complete run folder"),
        (["sample.py", "nowhere"], 1, "no run folder"),
        (["report.py", "nowhere"], 1, "no run folder"),
        (["report.py"], 2, "runs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_gets_one_line(script, tmp_path, monkeypatch, arguments, code, says):
    for name, text in TAKEN.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    if "--dataset" not in arguments and arguments[0].startswith("train") and len(arguments) > 1:
        arguments = [*arguments, "--dataset", "digits"]
    outcome = script(*arguments)
    assert outcome.code == code
    assert says in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*") if p.is_file()} == TAKEN


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--m", "0"], "at least 1"),
        (["--m", "2", "-3"], "at least 1"),
        (["--repeats", "0"], "at least 1"),
        (["--num_samples", "0"], "at least 1"),
        (["--num_images", "0"], "num_images"),
        (["--chunk_size", "0"], "chunk_size"),
        (["--batch_size", "0"], "batch_size"),
        (["--checkpoint", "first"], "first"),
    ],
)
def test_bad_numbers_for_evaluation_leave_the_record_alone(runs, script, options, says):
    before = (runs / "realnvp" / "evaluation.json").read_bytes()
    outcome = script("evaluate.py", runs / "realnvp", *options, "--result", runs / "new.json")
    assert outcome.code == 2
    assert says in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert (runs / "realnvp" / "evaluation.json").read_bytes() == before
    assert not (runs / "new.json").exists()


def test_a_run_in_the_way_is_kept(runs, script):
    before = (runs / "vae" / "metrics.csv").read_bytes()
    outcome = script("train_vae.py", *SMALL_VAE, "--out", runs / "vae")
    assert outcome.code == 1
    assert "--resume" in outcome.err
    assert "--overwrite" in outcome.err
    assert (runs / "vae" / "metrics.csv").read_bytes() == before


def test_no_network_says_what_to_do(script, tmp_path, monkeypatch):
    from inference.data.torchvision_ops import import_torchvision

    import_torchvision()
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    outcome = script("train_vae.py", "--out", tmp_path / "run", "--data_root", tmp_path / "data")
    assert outcome.code == 1
    assert "--dataset digits" in outcome.err
    assert "--data_root" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train_vae.py", "train_realnvp.py", "evaluate.py", "sample.py", "report.py"])
def test_help_is_quick(name):
    """Slow libraries are imported when they are used: --help needs none of them."""
    slow = {"torchvision", "matplotlib", "sklearn", "tensorboard", "jinja2", "zuko", "accelerate"}
    program = (
        "import runpy, sys; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"finally: print(sorted({slow!r} & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, str(SCRIPTS / name)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert "usage:" in done.stdout


PROGRAMS = [
    *sorted(SCRIPTS.glob("*.py")),
    *(
        ROOT / name
        for name in ("benchmarks/run.py", "benchmarks/growth.py", "benchmarks/scaling.py", "tools/mutate.py")
    ),
]


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.name)
def test_every_program_has_help_and_refuses_what_it_does_not_know(script, tmp_path, monkeypatch, file):
    """Neither does any work: no process is started, no file written."""

    def no_work(*_, **__):
        raise AssertionError("work has begun")

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(file.parent)
    for name in ("subprocess.Popen", "pathlib.Path.write_text"):
        monkeypatch.setattr(name, no_work)
    outcome = script(file, "--help")
    assert outcome.code == 0
    assert "usage:" in outcome.out
    outcome = script(file, "--no_such_option")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--no_such_option" in outcome.err
    assert not list(tmp_path.iterdir())


def test_help_of_a_part_lists_its_options(script):
    assert "--prior.num_components" in script("train_vae.py", "--prior.help", "GaussianMixture").out
    outcome = script("train_realnvp.py", "--flow.help", "flip_realnvp")
    assert outcome.code == 0
    assert "--flow.pairs" in outcome.out
    assert "image_shape" not in outcome.out


def test_the_demo_trains_evaluates_and_reports(tmp_path, monkeypatch, capsys):
    from pyro_models_cli.commands.demo import demo

    monkeypatch.chdir(tmp_path)
    page = demo(epochs=(1, 1))
    assert "Table 2." in page.read_text()
    assert page.read_text().count('<a href="explore.html">') == 1
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("$ ")]
    assert [line.split()[2] for line in shown] == [
        "train-vae",
        "evaluate",
        "train-realnvp",
        "evaluate",
        "explore",
        "report",
    ]
    assert Run.open("demo/vae").environment["command"] == shown[0].removeprefix("$ ")


def test_a_table_of_runs_is_made_row_by_row(script, tmp_path):
    rows = tmp_path / "rows.yaml"
    rows.write_text("plain: ''\ntwo: --model TwoLevelVAE --guide TwoLevelGuide --objective DReG\n")
    small = " ".join(SMALL_VAE)
    asked = ["--list", rows, "--common", small, "--out", tmp_path / "zoo", "--num_samples", 30]
    outcome = script("zoo.py", *asked, "--rows", "plain", "--result", tmp_path / "table.json")
    assert outcome.code == 0, outcome.err
    assert [row["name"] for row in json.loads((tmp_path / "table.json").read_text())] == ["plain"]
    outcome = script("zoo.py", *asked, "--result", tmp_path / "table.json")
    assert outcome.code == 0, outcome.err
    assert f"plain: already in {tmp_path / 'table.json'}" in outcome.out
    plain, two = json.loads((tmp_path / "table.json").read_text())
    assert (plain["layers"], two["layers"]) == (1, 2)
    assert (two["guide"], two["objective"]) == ("TwoLevelGuide", "DReG")
    for row in (plain, two):
        assert row["nll_30"]["value"] < row["negative_elbo"]["value"]
        evaluation = Run.open(tmp_path / "zoo" / row["name"]).evaluation()
        assert row["nll_30"] == evaluation["negative_iwae"]["30"]
        again = shlex.split(row["command"].partition(" && ")[0])
        assert again[:2] == ["pyro-models", "train-vae"]
        assert train_vae.parse(again[2:]).config == Run.open(tmp_path / "zoo" / row["name"]).config
    assert two["latent_dims"] == {"z1": 3, "z2": 1}

    outcome = script("zoo.py", *asked)
    assert "plain: already made" in outcome.out
    shutil.rmtree(tmp_path / "zoo" / "plain")  # a row that is in the table stays in it
    outcome = script("zoo.py", *asked, "--result", tmp_path / "table.json")
    assert outcome.code == 0, outcome.err
    assert [row["name"] for row in json.loads((tmp_path / "table.json").read_text())] == ["plain", "two"]
    outcome = script("zoo.py", *asked[:-1], 40, "--result", tmp_path / "table.json")
    assert "a number of samples other than 40" in outcome.err
    (tmp_path / "other.json").write_text("{}[")
    for file, message in (
        ("other.json", "is not a table of rows"),
        ("t.png", "ending in .json"),
        ("rows.yaml/x.json", ""),
    ):
        outcome = script("zoo.py", *asked, "--result", tmp_path / file)
        assert outcome.code in (1, 2)
        assert (outcome.out, outcome.err.count("\n")) == ("", 1)
        assert message in outcome.err
    assert (tmp_path / "other.json").read_text() == "{}["

    outcome = script("zoo.py", *asked, "--rows", "three")
    assert (outcome.code, outcome.out) == (2, "")
    assert "unknown rows three: expected some of plain, two" in outcome.err
    for common in (f"{small} --lr 0.1", small.partition(" --")[2]):  # one more option, or fewer
        outcome = script(
            "zoo.py", *asked[:2], "--common", f"--{common.removeprefix('--')}", *asked[4:], "--rows", "two"
        )
        assert outcome.code == 1
        assert "holds a run with other options" in outcome.err
    for text, message in (
        ("plain: 3", "must map names"),
        ("../x: ''", "names of folders"),
        ("a: [", "cannot be read"),
    ):
        rows.write_text(text)
        assert message in script("zoo.py", *asked).err


def test_a_row_whose_training_was_interrupted_is_continued(script, tmp_path):
    rows, run = tmp_path / "rows.yaml", tmp_path / "zoo" / "plain"
    rows.write_text("plain: --lr 1e-3\n")
    parts = [*SMALL_VAE, "--lr", "1e-3"]
    assert script("train_vae.py", *parts, "--out", run).code == 0
    before = (run / "metrics.csv").read_text()
    outcome = script("zoo.py", "--list", rows, "--common", " ".join(SMALL_VAE), "--out", tmp_path / "zoo")
    assert outcome.code == 0, outcome.err
    assert (run / "metrics.csv").read_text() == before
    assert "5000" in Run.open(run).evaluation()["negative_iwae"]


def test_the_collapse_study_trains_beyond_the_threshold(script, tmp_path):
    small = " ".join([*SMALL_VAE, "--likelihood", "AutoregressivePixels", "--likelihood.sight", "2"])
    asked = ["--common", small, "--num_samples", 20, "--num_images", 200, "--out", tmp_path / "runs"]
    chosen = ["collapsed", "1 balanced", "4 labels", "5 other decoder"]
    outcome = script("collapse_study.py", *asked, "--rows", *chosen, "--result", tmp_path / "study.json")
    assert outcome.code == 0, outcome.err
    collapsed, balanced, labels, other = json.loads((tmp_path / "study.json").read_text())
    assert [row["name"] for row in (collapsed, balanced, labels, other)] == chosen
    assert collapsed["weight"] == pytest.approx(1.5 * collapsed["threshold"], abs=0.01)
    assert balanced["weight"] == 1
    assert collapsed["threshold"] < min(labels["threshold"], other["threshold"])  # of few images of a class
    assert other["likelihood"] == "BernoulliPixels"
    assert balanced["weighted"] == pytest.approx(balanced["negative_elbo"]["value"])
    with Image.open(tmp_path / "study.png") as picture:
        assert min(picture.size) > 200
    (tmp_path / "other.json").write_text("[3]")
    outcome = script("collapse_study.py", *asked, "--result", tmp_path / "other.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert "is not a table of rows" in outcome.err
    (tmp_path / "other.json").write_text(json.dumps([{**balanced, "dataset": "mnist"}]))
    outcome = script("collapse_study.py", *asked, "--result", tmp_path / "other.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert "holds rows of other data than" in outcome.err
    outcome = script("collapse_study.py", *asked, "--margin", 0.9)
    assert outcome.code == 2
    assert "margin must be above 1" in outcome.err


def test_two_processes_make_one_run(tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    out = tmp_path / "run"
    small = ("--encoder.hidden", "[16]", "--decoder.hidden", "[16]")
    commands = (
        ["train_vae.py", "--dataset", "digits", "--epochs", "1", "--out", str(out), *small],
        ["evaluate.py", str(out), "--m", "5", "--repeats", "2", "--num_images", "31"],
    )
    printed = []
    for name, *arguments in commands:
        command = [*launcher, str(ROOT / "scripts" / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0].count("run written to") == 1
    assert printed[1].count("negative ELBO") == 1
    assert len(Run.open(out).metrics()) == 1
    record = json.loads((out / "evaluation_first_31.json").read_text())
    assert record["num_test_images"] == 31
    assert record["negative_iwae"]["5"]["value"] < record["negative_elbo"]["value"]


def test_every_script_works_on_a_build_for_cuda_without_a_gpu(script, tmp_path, monkeypatch):
    for module, name in (
        (torch.accelerator, "current_accelerator"),
        (torch.cuda, "is_available"),
        (torch.cuda, "device_count"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back what the stand-in replaces
    as_a_build_for_cuda()
    anywhere = [word for word in SMALL_VAE if word not in ("--device", "cpu")]
    vae, flow = tmp_path / "vae", tmp_path / "flow"
    (tmp_path / "rows.yaml").write_text("plain: --lr 1e-3\n")
    rows = ["--common", " ".join(anywhere), "--num_samples", 20]
    for name, *options in (
        ("train_vae.py", *anywhere, "--out", vae),
        ("train_realnvp.py", *[word for word in SMALL_FLOW if word not in ("--device", "cpu")], "--out", flow),
        ("evaluate.py", vae, "--m", 2, "--repeats", 1),
        ("evaluate.py", flow, "--m", 2, "--repeats", 1),
        ("diagnose.py", vae, "--num_images", 20, "--num_weighted", 2, "--num_samples", 20),
        ("sample.py", flow),
        ("inpaint.py", flow, "--num_images", 1, "--num_chains", 1, "--num_samples", 1, "--warm_up", 1),
        ("report.py", vae, flow, "--out", tmp_path / "report"),
        ("zoo.py", "--list", tmp_path / "rows.yaml", *rows, "--out", tmp_path / "zoo"),
        ("collapse_study.py", *rows, "--rows", "collapsed", "--num_images", 200, "--out", tmp_path / "study"),
    ):
        outcome = script(name, *options)
        assert outcome.code == 0, (name, outcome.err)
    assert Run.open(vae).config["device"] == "auto"
