"""Runs are shared on a Hub and fetched from it: no more than its files, and every failure is one line."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from hub_stand_in import TOKEN, Hub

from inference import Run, RunError, load
from inference.runs.folder import SHARED
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.push import PushOptions, push

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
    assert refused(HERE) == f"{HERE} needs huggingface_hub: install it with pip install 'pyro-models[hub]'"
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
