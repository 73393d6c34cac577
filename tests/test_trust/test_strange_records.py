"""Records and checkpoints that a stranger wrote, with values of the wrong kinds: one line names the file."""

import json
import pickle
import shutil

import pytest
from conftest import ROOT

from inference import CheckpointError, Run, RunError, load
from inference.runs.checkpoint import _read, _write
from pyro_models_cli.card import card
from pyro_models_cli.commands.report import ReportOptions, report
from pyro_models_cli.trained import check_config

DIGITS = ROOT / "pretrained" / "vae_digits"
EVALUATION = json.loads((DIGITS / "evaluation.json").read_text())
ESTIMATE = EVALUATION["negative_elbo"]
LATENT = {
    **{"name": "z", "active": 1, "divergence": [0.5], "variance_of_means": [0.5]},
    **{"holds_image": False, "mutual_information": 1.0},
}
DIAGNOSIS = {
    **{"latents": [LATENT], "gap": 1.0, "pareto_k": None, "pareto_k_threshold": 0.7},
    **{"share_above_threshold": 0.1, "num_images": 10, "num_weighted": 10},
}
HUGE = 10**400  # is no float


@pytest.fixture
def run(tmp_path):
    return Run.open(shutil.copytree(DIGITS, tmp_path / "run"))


def assert_refused(read, file, error=RunError):
    with pytest.raises(error) as caught:
        read()
    told = str(caught.value)
    assert told.startswith(str(file))
    assert "\n" not in told
    assert len(told) < len(str(file)) + 200


@pytest.mark.parametrize(
    "change",
    [
        *({"negative_elbo": value} for value in ({}, {**ESTIMATE, "value": "<b>"}, {**ESTIMATE, "value": HUGE})),
        *({"negative_iwae": value} for value in ([], {"5": 3}, {"5": {**ESTIMATE, "standard_error": [1]}})),
        *({"bits_per_dim": value} for value in (3, {}, {"1": ESTIMATE}, {"1": 3, "5": 3})),
        *({name: "<b>"} for name in ("epochs", "num_test_images", "repeats")),
        *({"binarisation": ["x"]}, {"num_test_images": HUGE}, {"epochs": HUGE}),
    ],
    ids=str,
)
def test_an_evaluation_of_wrong_kinds_is_named(run, change):
    file = run.path / "evaluation.json"
    file.write_text(json.dumps({**EVALUATION, "negative_iwae": {"1": ESTIMATE, "5": ESTIMATE}, **change}))
    assert_refused(run.evaluation, file)


@pytest.mark.parametrize(
    "change",
    [
        *({"latents": value} for value in ({}, [3], [{}], [{**LATENT, "divergence": [True]}])),
        *({"latents": [{**LATENT, **value}]} for value in ({"divergence": [HUGE]}, {"active": 0.5})),
        *({"latents": [{**LATENT, "name": "z" * 9000, "divergence": ["x"]}]}, {"gap": HUGE}, {"num_images": "<b>"}),
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_diagnosis_of_wrong_kinds_is_named(run, change):
    file = run.path / "diagnosis.json"
    file.write_text(json.dumps(DIAGNOSIS))
    assert run.diagnosis() == DIAGNOSIS
    file.write_text(json.dumps({**DIAGNOSIS, **change}))
    assert_refused(run.diagnosis, file)


@pytest.mark.parametrize(
    "header",
    [
        {},
        *({"progress": value} for value in ([1], {}, "x", None)),
        *({"progress": {"epoch": value}} for value in ("<b>", None, [1], True, -1, float("inf"), float("nan"), HUGE)),
        {"progress": {"epoch": 1, "part": "x"}},
    ],
    ids=lambda header: str(header)[:40],
)
def test_a_checkpoint_that_does_not_say_where_it_stood_is_refused(run, header):
    tensors, _ = _read(run.last)
    _write(run.last, tensors, header)
    assert_refused(lambda: load(run.path), run.last, CheckpointError)


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"batch_size": 0},
            {"batch_size": HUGE},
            {"seed": -1},
            {"lr": HUGE},
            {"lr": float("nan")},
            {"num_validation": "<b>"},
        ),
        *({"objective": {"class_path": 3}}, {"objective": {}}, {"dataset": 3}),
    ],
    ids=lambda change: str(change)[:40],
)
def test_options_that_a_report_cannot_show_are_named(run, change):
    check_config(run)
    run.write_config({**run.config, **change})
    assert_refused(lambda: check_config(run), run.path / "config.yaml")


def test_a_report_shows_strange_numbers_and_names_as_text(run, tmp_path):
    header = (run.path / "metrics.csv").read_text().splitlines()[0]
    (run.path / "metrics.csv").write_text(f"{header}\n1{',nan' * header.count(',')}\n")
    (run.path / "seconds.csv").write_text("epoch,seconds\n1,inf\n")
    markup = "<script>x</script>"
    change = {"command": markup, "machine": markup, "versions": {markup: markup}}
    (run.path / "environment.json").write_text(json.dumps({**run.environment, **change}))
    latent = {**LATENT, "name": markup}
    (run.path / "diagnosis.json").write_text(json.dumps({**DIAGNOSIS, "epochs": 100, "latents": [latent]}))
    record = {**EVALUATION, "binarisation": markup, "negative_iwae": {markup: ESTIMATE}}
    (run.path / "evaluation.json").write_text(json.dumps(record))
    page = report([run.path], ReportOptions(out=str(tmp_path / "report"))).read_text()
    assert markup not in page
    assert page.count("&lt;script&gt;x") >= 6


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        (2**62).to_bytes(8, "little") + b"{}",  # a header longer than the file
        *(
            len(header).to_bytes(8, "little") + header + b"0000"
            for header in (
                b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}',
                b'{"__metadata__":{"run":"'
                + b"[" * 100_000
                + b'"},"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}',
            )
        ),
    ],
    ids=["pickle", "long header", "large shape", "deep header"],
)
def test_a_file_in_the_place_of_a_checkpoint_is_refused(run, content):
    run.last.write_bytes(content)
    assert_refused(lambda: load(run.path), run.last, CheckpointError)


def test_the_page_of_a_run_holds_no_markup_of_its_texts(run):
    markup = "https://evil.example <script>x</script> [a](b) ![a](b) | `c` @me $x$\n# head *bold*" + "x" * 10_000
    config = {**run.config, "dataset": markup}
    run.write_config(config)
    record = {**EVALUATION, "units": markup, "binarisation": markup, "negative_iwae": {markup[:300]: ESTIMATE}}
    run.write_result("evaluation.json", json.dumps(record))
    pair = run.pair
    pair["model"]["class_path"] = pair["guide"]["class_path"] = "mine." + markup
    (run.path / "model.yaml").write_text(json.dumps(pair))
    ours = card(Run.open(DIGITS), "me/vae")
    page = card(Run.open(run.path), "me/vae")
    assert "https" in page
    for mark in ("://", "<", "[a", "!["):
        assert page.count(mark) == ours.count(mark), mark
    assert len(page) < len(ours) + 2000
    assert [line[0] for line in page.splitlines() if line[:1] in ("#", "*")] == ["#", "#"]


def test_a_run_without_the_usual_options_has_a_page(run):
    run.write_config({"seed": 0})
    (run.path / "evaluation.json").unlink()
    (run.path / "model.yaml").write_text("model: [1]\nguide: {class_path: 3, init_args: x}\n")
    page = card(Run.open(run.path), "me/vae")
    assert "trained on data of its own with pyro-models; the weights are those of epoch\n100." in page
