"""Runs are shared on a Hub and fetched from it: no more than its files, and every failure is one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from hub_stand_in import TOKEN, Hub
from safetensors.torch import load_file, save_file

from inference import Run, RunError, load
from inference.runs.checkpoint import read_progress
from inference.runs.folder import SHARED
from pyro_models_cli.card import card
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.push import PushOptions, push
from pyro_models_cli.commands.report import ReportOptions, report

DIGITS = ROOT / "pretrained" / "vae_digits"
HERE = "hf://me/vae"


@pytest.fixture(scope="module")
def library():
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install '.[hub]'")
    from huggingface_hub import constants

    return constants


@pytest.fixture
def hub(library, monkeypatch, tmp_path):
    """An empty Hub, whose owner this user is."""
    server = Hub()
    monkeypatch.setattr(library, "ENDPOINT", server.address)  # both were read when it was imported
    monkeypatch.setattr(
        library, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path):
    return shutil.copytree(DIGITS, tmp_path / "digits")


def contents(folder) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_run_comes_back_as_it_was_pushed(hub, run, capsys):
    commit = push(run, "me/vae")
    assert capsys.readouterr().out == f"{commit}: load it with inference.load('{HERE}')\n"
    pair, ours = load(HERE), load(run)
    for half in ("model", "guide"):
        mine, other = getattr(ours, half).state_dict(), getattr(pair, half).state_dict()
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert contents(Run.open(HERE).path).keys() == contents(run).keys() - {"check.json"}
    options = EvaluateOptions(num_images=20, m=[2], repeats=1)
    assert evaluate(HERE, options)["negative_elbo"] == evaluate(run, options)["negative_elbo"]


def test_the_page_of_a_run_says_its_recorded_numbers_and_code_that_loads_it(hub, run):
    push(run, "me/vae")
    page = hub.files("me/vae")["README.md"].decode()
    record = Run.open(run).evaluation()
    assert f"| ELBO | {record['negative_elbo']['value']:.3f} |" in page
    assert f"| IWAE, m = 150 | {record['negative_iwae']['150']['value']:.3f} |" in page
    assert "359 test data, binarisation dynamic, 5 repeats, nats per image" in page
    names: dict = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    assert type(names["pair"].model).__name__ == "VAE"
    (run / "evaluation.json").unlink()
    push(run, "me/vae")
    page = hub.files("me/vae")["README.md"].decode()
    assert f"on the test data: {Run.open(run).metrics()[-1]['test_negative_elbo']:.3f} nats" in page
    assert "evaluation.json" not in hub.files("me/vae"), "a record of an earlier push stays"


def test_the_page_of_the_best_weights_gives_their_numbers(hub, run):
    (run / "evaluation.json").unlink()
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("num_validation: 0", "num_validation: 10"))
    weights = run / "checkpoints" / "last.safetensors"
    content = load_file(weights)
    progress = read_progress(weights)
    for name, more in (("best", {"epoch": 3}), ("last", {"best_epoch": 3})):
        about = json.dumps({"progress": progress | more})
        save_file(content, weights.with_name(f"{name}.safetensors"), {"run": about})
    (row,) = (row for row in Run.open(run).metrics() if row["epoch"] == 3)
    page = card(Run.open(run), "me/vae")
    assert "the weights are those of epoch\n3. Parts" in page
    assert f"Negative ELBO after this epoch, on the test data: {row['test_negative_elbo']:.3f} nats" in page


def test_a_dry_run_shows_what_would_be_shared_and_asks_nothing_of_the_hub(run, monkeypatch, capsys):
    monkeypatch.setattr("pyro_models_cli.commands.push.pushed", None)
    assert push(run, "me/vae", PushOptions(dry_run=True)) == ""
    files, _, page = capsys.readouterr().out.partition("\n\n")
    assert {line.split("bytes  ")[1] for line in files.splitlines()} >= {"README.md", "model.yaml", "config.yaml"}
    assert page == card(Run.open(run), "me/vae")


def test_a_run_of_another_model_is_replaced_only_when_asked(hub, run):
    push(run, "me/vae")
    there = hub.files("me/vae")
    model = (run / "model.yaml").read_text()
    for text in (model.replace("latent_dim: 8", "latent_dim: 9"), model.replace("VAE", "TwoLevelVAE")):
        hub.commit("me/vae", {**there, "model.yaml": text.encode()})
        with pytest.raises(RunError, match="holds a run of another model: push to another repository, or"):
            push(run, "me/vae")
        push(run, "me/vae", PushOptions(overwrite=True))
        assert hub.files("me/vae").keys() == there.keys()
    hub.commit("me/vae", {**there, "model.yaml": b"a: ["})
    with pytest.raises(RunError, match="another model"):
        push(run, "me/vae")


def test_a_run_on_other_data_is_replaced_only_when_asked(hub, run):
    push(run, "me/vae")
    there = hub.files("me/vae")
    data = json.loads((run / "data.json").read_text())
    for change in ({"sha256": "0" * 64}, {"source": "wine"}):
        hub.commit("me/vae", {**there, "data.json": json.dumps({**data, **change}).encode()})
        with pytest.raises(RunError, match="holds a run on other data: push to another repository, or"):
            push(run, "me/vae")
        push(run, "me/vae", PushOptions(overwrite=True))
    (run / "data.json").unlink()
    push(run, "me/vae")  # an older run
    assert "data.json" not in hub.files("me/vae")


@pytest.mark.parametrize(
    ("dataset", "path", "words", "says"),
    [
        ("mine.faces", None, "--allow_import mine", "It needs code of its author's besides: `mine`, which"),
        ("my faces.npy", "my faces.npy", "--dataset 'my faces.npy'", "Its data, `my faces.npy`, are not part of it"),
    ],
)
def test_the_page_of_a_run_on_ones_own_data_says_what_it_takes(hub, run, dataset, path, words, says):
    record = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps({**record, "path": path}))
    Run.open(run).write_config({**Run.open(run).config, "dataset": dataset})
    page = card(Run.open(run), "me/vae")
    assert f"pyro-models evaluate hf://me/vae {words}\n" in page
    assert says in page
    assert 'load("hf://me/vae")' in page


def test_the_page_of_a_run_with_a_class_of_ones_own_says_what_it_takes(hub, run):
    model = (run / "model.yaml").read_text()
    (run / "model.yaml").write_text(model.replace("pyro_models.StandardNormal", "mine.Laplace"))
    page = card(Run.open(run), "me/vae")
    assert "load(\"hf://me/vae\", allow=['mine'])" in page
    assert "pyro-models evaluate hf://me/vae --allow_import mine\n" in page
    assert "It needs code of its author's besides: `mine`, which" in page


def test_only_the_files_of_a_run_are_fetched(hub, run):
    others = {
        "evil.py": b"raise SystemExit",
        "../up": b"",
        "checkpoints/x.pkl": b"",
        "/etc/evil": b"",
        "README.md": b"",
    }
    hub.commit("me/vae", contents(run) | others)
    place = Run.open(HERE).path
    assert contents(place).keys() == contents(run).keys() & {*SHARED}
    assert not [name for name in others if any(name in asked for asked in hub.asked)]


def test_a_revision_is_that_commit_and_needs_no_network_twice(hub, run, library, monkeypatch):
    first = hub.commit("me/vae", contents(run))
    hub.commit("me/vae", contents(run) | {"metrics.csv": b"epoch,train_negative_elbo\n1,5\n"})
    assert len(Run.open(HERE).metrics()) == 1
    assert len(Run.open(f"{HERE}@{first}").metrics()) == 100
    assert len(Run.open(f"{HERE}@main").metrics()) == 1
    before = len(hub.asked)
    monkeypatch.setattr(library, "ENDPOINT", "http://127.0.0.1:9")
    assert len(Run.open(f"{HERE}@{first}").metrics()) == 100
    assert len(hub.asked) == before


def test_failures_are_one_line_each(hub, run, library, monkeypatch, tmp_path):
    hub.commit("me/vae", contents(run))
    hub.commit("me/empty", {"README.md": b""})

    def refused(address: str) -> str:
        with pytest.raises(RunError) as error:
            load(address)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "is not on http" in refused("hf://me/nothing")
    assert "or it is private" in refused("hf://me/nothing")
    assert "no such revision" in refused(f"{HERE}@nothing")
    assert refused("hf://me/empty") == "hf://me/empty holds no run: config.yaml, model.yaml, environment.json missing"
    hub.private.add("me/vae")
    monkeypatch.setenv("HF_TOKEN", "of_someone_else")
    assert "or it is private: check the name, and log in" in refused(HERE)
    with pytest.raises(RunError, match=f"refused {HERE}: log in"):
        push(run, "me/vae")
    monkeypatch.setattr(library, "ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 cannot be reached" in refused(HERE)
    monkeypatch.setattr("inference.runs.hub.find_spec", lambda name: None)
    assert refused(HERE) == f"{HERE} needs huggingface_hub: install it with pip install huggingface_hub"
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    "address",
    [
        *("hf://", "hf://vae", "hf://../vae", "hf://me/..", "hf://me/vae/more", "hf://me/.vae", "hf:///etc/passwd"),
        *(
            "hf://me/vae@",
            "hf://me/vae@../../x",
            "hf://me/vae@-x",
            "hf://me/vae@a//b",
            "hf://me\n/vae",
            "hf://me/vae?x",
        ),
    ],
)
def test_addresses_that_could_lead_elsewhere_are_refused_unasked(hub, address):
    with pytest.raises(RunError, match="is no re(pository|vision)"):
        load(address)
    assert not hub.asked


def test_what_the_hub_tells_is_checked(hub, run):
    hub.commit("me/vae", contents(run))
    hub.sizes = {"config.yaml": 100_001}
    with pytest.raises(RunError, match="its config.yaml may have up to 100,000 bytes; got 100001"):
        load(HERE)
    hub.sizes = {"checkpoints/last.safetensors": 2**33}
    with pytest.raises(RunError, match="its checkpoints/last.safetensors may have up to"):
        load(HERE)
    hub.sizes, hub.sha = {}, "../../../../tmp/x"
    with pytest.raises(RunError, match="has no commit"):
        load(HERE)
    assert not [asked for asked in hub.asked if "resolve" in asked]


def test_classes_of_a_strangers_run_are_refused_as_ever(hub, run):
    files = contents(run)
    files["model.yaml"] = files["model.yaml"].replace(b"pyro_models.StandardNormal", b"evil.Prior")
    hub.commit("me/vae", files)
    with pytest.raises(ValueError, match="refused to import 'evil.Prior'"):
        load(HERE)


def test_a_report_on_a_fetched_run_suggests_no_training_in_the_cache(hub, run, tmp_path):
    hub.commit("me/vae", contents(run))
    page = report([HERE], ReportOptions(out=str(tmp_path / "report"))).read_text()
    assert "--conditional --out runs/vae_conditional<" in page
    page = report([run], ReportOptions(out=str(tmp_path / "report"))).read_text()
    assert f"--conditional --out {run}_conditional<" in page


def test_the_commands_push_privately_and_evaluate_from_there(hub, run, tmp_path):
    def told(*words: str) -> str:
        code = "import sys; sys.argv = sys.argv[1:]; from pyro_models_cli.start import pyro_models; pyro_models()"
        command = [sys.executable, "-c", code, "pyro-models", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "load it with inference.load('hf://me/mine')" in told("push", str(run), "hf://me/mine", "--private")
    assert hub.private == {"me/mine"}
    assert "20 test images of digits" in told("evaluate", "hf://me/mine", "--num_images=20", "--m=2", "--repeats=1")
    assert "samples.png" in told("sample", "hf://me/mine")


def test_a_public_repository_stays_public_unless_asked(hub, run):
    push(run, "me/vae", PushOptions())
    assert not hub.private


def test_a_file_of_another_size_than_announced_is_refused_and_not_kept(hub, run, tmp_path):
    hub.commit("me/vae", contents(run))
    hub.sizes = {"metrics.csv": 10}
    with pytest.raises(RunError, match=r"is refused: its metrics\.csv was to have 10 bytes and has"):
        load(HERE)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_a_token_is_not_shown_to_the_host_that_the_hub_sends_on_to(hub, run):
    hub.commit("me/vae", contents(run))
    other = Hub()
    try:
        other.commit("me/vae", contents(run))
        hub.moved_to = other.address.replace("127.0.0.1", "localhost")
        assert load(HERE).epoch == 100
    finally:
        other.shutdown()
        other.server_close()
    assert f"Bearer {TOKEN}" in hub.shown
    assert other.shown
    assert set(other.shown) == {None}


def test_two_processes_that_fetch_at_once_both_get_the_run(hub, run, monkeypatch):
    hub.commit("me/vae", contents(run))
    rename, places = Path.rename, []

    def after_another(new, place):
        monkeypatch.setattr(Path, "rename", rename)
        places.append(shutil.copytree(new, place))  # the other was faster
        return rename(new, place)

    monkeypatch.setattr(Path, "rename", after_another)
    assert Run.open(HERE).path == places[0]
    assert load(HERE).epoch == 100


def test_a_download_that_was_cut_off_is_not_taken_for_a_run(hub, run, tmp_path):
    commit = hub.commit("me/vae", contents(run))
    asked = []

    def third_file_never_comes():
        asked.append(1)
        if len(asked) > 5:  # two questions a file
            os.kill(process.pid, signal.SIGKILL)

    hub.before_each_file = third_file_never_comes
    code = "import sys; from inference import load; load(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code, HERE], env=environment)
    assert process.wait() == -signal.SIGKILL
    home = tmp_path / "cache" / "pyro-models" / "hub" / "me" / "vae"
    (left,) = home.iterdir()
    assert list(left.rglob("*.*"))
    hub.before_each_file = lambda: None
    assert load(f"{HERE}@{commit}").epoch == 100
    assert left.exists(), "another process may be at it"
    hub.commit("me/vae", contents(run))
    os.utime(left, (0, 0))
    assert load(HERE).epoch == 100
    assert not left.exists()


def test_ctrl_c_ends_a_download_with_one_line_and_leaves_nothing(hub, run, tmp_path):
    hub.commit("me/vae", contents(run))
    coming, go_on = threading.Event(), threading.Event()

    def wait():
        coming.set()
        go_on.wait(60)

    hub.before_each_file = wait
    code = "import sys; sys.argv = sys.argv[1:]; from pyro_models_cli.start import pyro_models; pyro_models()"
    command = [sys.executable, "-c", code, "pyro-models", "evaluate", HERE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert coming.wait(120)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=120)[1]
    go_on.set()
    assert process.returncode == 130
    assert told.splitlines()[-1].endswith("error: interrupted")
    assert "Traceback" not in told
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_a_cache_that_cannot_be_written_is_told(hub, run, tmp_path):
    hub.commit("me/vae", contents(run))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "pyro-models").write_text("in the way")
    with pytest.raises(RunError, match="stopped at this machine's disk: .*pyro-models") as error:
        load(HERE)
    assert "\n" not in str(error.value)


def test_a_damaged_copy_is_named_by_its_folder(hub, run):
    hub.commit("me/vae", contents(run))
    place = Run.open(HERE).path
    (place / "model.yaml").unlink()
    with pytest.raises(RunError, match="is not a complete run folder: model.yaml missing") as error:
        load(HERE)
    assert str(error.value).startswith(str(place))


def test_a_push_replaces_no_other_model(hub, run):
    theirs = {"config.yaml": b"theirs", "weights.bin": b"1", "README.md": b"theirs"}
    hub.commit("me/bert", theirs)
    with pytest.raises(RunError, match="hf://me/bert holds 'config.yaml', which is no run: push to another repository"):
        push(run, "me/bert")
    assert hub.files("me/bert") == theirs
    hub.commit("me/new", {".gitattributes": b"", "README.md": b"new"})
    push(run, "me/new")
    hub.commit("me/new", hub.files("me/new") | {"notes/mine.txt": b"kept"})
    push(run, "me/new")
    assert hub.files("me/new")["notes/mine.txt"] == b"kept"


def test_a_public_repository_is_not_pushed_to_as_a_private_one(hub, run):
    push(run, "me/vae")
    before = len(hub.commits["me/vae"])
    with pytest.raises(RunError, match="hf://me/vae is public already"):
        push(run, "me/vae", PushOptions(private=True))
    assert len(hub.commits["me/vae"]) == before
    push(run, "me/mine", PushOptions(private=True))
    push(run, "me/mine", PushOptions(private=True))
    assert hub.private == {"me/mine"}


def test_of_two_pushes_at_once_one_is_refused(hub, run, monkeypatch):
    from huggingface_hub import HfApi

    push(run, "me/vae")
    told = HfApi.model_info

    def and_another_pushes(self, repository, **options):
        info = told(self, repository, **options)
        hub.commit("me/vae", {**hub.files("me/vae"), "README.md": b"the other's"})
        return info

    monkeypatch.setattr(HfApi, "model_info", and_another_pushes)
    with pytest.raises(RunError, match="was changed by someone else meanwhile"):
        push(run, "me/vae")
    assert hub.files("me/vae")["README.md"] == b"the other's"


def test_an_address_is_no_folder_to_train_in(hub, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="is no folder: train in a folder, and share it with pyro-models push"):
        Run.create(Path(HERE), {}, {})
    assert not (tmp_path / "hf:").exists()
    hub.commit("me/vae", contents(run))
    assert Run.open(Path(HERE)).path == Run.open(HERE).path
