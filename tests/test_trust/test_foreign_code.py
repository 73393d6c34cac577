"""Files from strangers run no code: documents made of dangerous pieces, and every attack that once worked.

PYRO_MODELS_FUZZ sets how many documents are tried.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, described_vae
from PIL import Image

import pyro_models_cli.commands.train_vae as train_vae
from inference import DataError, Run, RunError, build, load
from inference.data.opening import names_function
from inference.runs.parts import Role, find_part, fits, is_plain, parts
from inference.runs.reading import read_mapping
from inference.system.imports import look_here_too
from pyro_models_cli.rows import read_rows
from pyro_models_cli.seeds import active_of

COUNT = int(os.environ.get("PYRO_MODELS_FUZZ", "250"))
STRIKES = """
import os
os.mkdir('struck')
def strike(*_, **__): os.mkdir('struck')
class Evil:
    def __init__(*_): strike()
"""
TRIES = """
try:
    import own_stray as found
except ImportError:
    pass
"""
ALLOWED = """
import os
from collections import OrderedDict as Borrowed
import pyro.distributions as dist, torch
from torch import nn
def strike(*_, **__): os.mkdir('struck')
class _Private(nn.Module): pass
class Laplace(nn.Module):
    def __init__(self, latent_dim: int, scale: float = 1.0):
        super().__init__()
        self.latent_dim, self.scale = latent_dim, scale
    def forward(self):
        return dist.Laplace(torch.zeros(self.latent_dim), self.scale).to_event(1)
"""


def script(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
    path = os.pathsep.join(filter(None, [str(cwd), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small run of each kind, and a module that leaves a mark when it is imported."""
    folder = tmp_path_factory.mktemp("foreign")
    quick = ["--dataset", "digits", "--epochs", 1, "--batch_size", 500, "--device", "cpu"]
    vae = [*quick, "--latent_dim", 2, "--encoder.hidden", "[4]", "--decoder.hidden", "[4]", "--out", "vae"]
    flow = [*quick, "--flow.hidden", "[4]", "--flow.pairs", 1, "--out", "flow"]
    for name, options in (("train_vae.py", vae), ("train_realnvp.py", flow)):
        done = script(name, *options, cwd=folder)
        assert done.returncode == 0, done.stderr
    (folder / "evil.py").write_text(STRIKES)
    (folder / "allowed.py").write_text(ALLOWED)
    (folder / "part-1.yaml").write_text("class_path: evil.Evil\n")
    return folder


def test_no_document_runs_code(folder):
    done = script("../tests/test_trust/fuzz_files.py", COUNT, 9, folder, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert not report["failures"], json.dumps(report["failures"], indent=2)
    assert sum(report["outcomes"].values()) == COUNT
    if COUNT >= 200:
        assert len(report["outcomes"]) == 12, f"every reader accepts and refuses some: {report['outcomes']}"
    assert not (folder / "struck").exists()


def _with_jit_options(*steps: dict) -> dict:
    return {"objective": {"class_path": "pyro.infer.Trace_ELBO", "init_args": {"jit_options": list(steps)}}}


def _set(key: str, value: object) -> dict:
    arguments = {"obj": {"class_path": "pyro_models.StandardNormal"}, "key": key, "val": value}
    return {"class_path": "pyro.infer.autoguide.utils.deep_setattr", "init_args": arguments}


ATTACKS = {
    "attributes set one by one": _with_jit_options(
        _set(".__class__.aa", {"class_path": "pyro.infer.inspect.TrackProvenance"}), _set(".aa.ctx.sys.path", ["evil"])
    ),
    "a function behind a module": {
        "prior": {
            "class_path": "pyro.infer.predictive.MHResampler",
            "init_args": {"sampler": "pyro.infer.inspect.os.abort"},
        }
    },
    "another file": {"prior": "part-1.yaml"},
    "a list of files": {"prior": ["part-1.yaml"]},
    "an option that is a description": {
        "decoder": {"class_path": "pyro_models.MLPDecoder", "init_args": {"hidden": {"class_path": "evil.Evil"}}}
    },
    "an option that is a text": {
        "decoder": {"class_path": "pyro_models.MLPDecoder", "init_args": {"activation": "Module"}}
    },
    "a text that hides YAML": {
        "decoder": {"class_path": "pyro_models.MLPDecoder", "init_args": {"hidden": "[&a 1, *a]"}}
    },
    "an option whose text hides YAML": {"epochs": "[&a 1, *a]"},
    "a part in the wrong place": {"prior": {"class_path": "pyro_models.MLPDecoder"}},
    "a private function": {"prior": {"class_path": "pyro_models._arguments.check_arguments"}},
    "what an allowed module imports": {"prior": {"class_path": "allowed.Borrowed"}},
    "a function of an allowed module": {"prior": {"class_path": "allowed.strike"}},
    "a private class of an allowed module": {"prior": {"class_path": "allowed._Private"}},
    "an attribute of an allowed module's module": {"prior": {"class_path": "allowed.os.abort"}},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_that_a_configuration_may_try(folder, tmp_path, attack):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"dataset": "digits", **ATTACKS[attack]}))
    done = script("train_vae.py", "--config", file, "--out", "new", "--allow_import", "allowed", cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    config = folder / "vae" / "config.yaml"
    before = config.read_text()
    config.write_text(yaml.safe_dump(yaml.safe_load(before) | ATTACKS[attack]))
    try:
        done = script("train_vae.py", "--resume", "--out", "vae", "--allow_import", "allowed", cwd=folder)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    finally:
        config.write_text(before)
    assert not (folder / "struck").exists()
    assert not (folder / "new").exists()


def test_a_configuration_does_not_say_where_to_write(folder, tmp_path):
    config = yaml.safe_load((folder / "vae" / "config.yaml").read_text()) | {"out": str(tmp_path / "elsewhere")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = script("train_vae.py", "--config", tmp_path / "config.yaml", cwd=folder)
    assert done.returncode == 2
    assert "--out" in done.stderr
    done = script("train_vae.py", "--config", tmp_path / "config.yaml", "--out", tmp_path / "asked", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked", "config.yaml"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("--prior evil.Evil", "--allow_import evil"),
        ("--prior=evil.Evil", "--allow_import evil"),
        ("--out elsewhere", "belongs on the command line"),
        ("--config evil.yaml", "belongs on the command line"),
        ("--allow_import evil --prior evil.Evil", "belongs on the command line"),
        ("--prior.help evil.Evil", "belongs on the command line"),
        ("-h", "belongs on the command line"),
        ("--latent_dim 'x", "not a list of options"),
        ("--latent_dim x", "--latent_dim"),
        ("--guide FlowGuide --latent_dim 1", "at least 2"),
    ],
)
def test_rows_of_a_list_are_tried_before_the_first_is_trained(folder, row, says):
    (folder / "rows.yaml").write_text(yaml.safe_dump({"fine": "--latent_dim 2", "odd": row}))
    quick = ["--common", "--dataset digits --epochs 1 --batch_size 500", "--num_samples", 20]
    done = script("zoo.py", "--list", "rows.yaml", *quick, "--out", "zoo", cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert says in done.stderr
    assert "odd" in done.stderr
    assert not (folder / "zoo").exists()
    assert not (folder / "struck").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "\x1b[31m", "\u202e", "a\n"])
def test_names_of_rows_are_those_of_folders_and_can_be_printed(tmp_path, name):
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump({name: ""}))
    with pytest.raises(ValueError, match="names of rows are names of folders"):
        read_rows(tmp_path / "rows.yaml")


def test_a_table_of_texts_is_not_printed():
    with pytest.raises(ValueError, match="format code"):
        active_of([{"active_units": {"z": "\x1b[31m"}, "latent_dims": {"z": 2}}])


def test_a_configuration_does_not_ask_for_help(tmp_path):
    (tmp_path / "config.yaml").write_text("help: true\n")
    with pytest.raises(ValueError, match="sets help, which belongs"):
        train_vae.parse(["--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "new")])


def test_the_current_folder_is_no_place_of_libraries(folder, tmp_path):
    for name in ("zuko", "matplotlib", "jinja2", "sklearn", "torchvision", "tensorboard", "evil"):
        (tmp_path / f"{name}.py").write_text(STRIKES)
    (tmp_path / "allowed.py").write_text(ALLOWED)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    command = [sys.executable, str(ROOT / "scripts" / "report.py"), str(folder / "vae"), "--out", "new"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for more in ([], ["--allow_import", "allowed"]):
        done = subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "struck").exists()


def test_no_relative_place_is_one_of_libraries(tmp_path):
    for place in ("", "relative"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "difflib.py").write_text(STRIKES)
        (tmp_path / place / "zuko.py").write_text(STRIKES)
    run = "import sys, difflib, json; sys.path[:0] = ['', 'relative']; sys.argv[1:] = {words}; {start}"
    start = "from pyro_models_cli.start import run; run('train-vae')"
    words = ["--dataset", "digits", "--epochs", "1", "--batch_size", "500", "--out", "new", "--prior", "ZukoPrior"]
    code = run.format(words=words, start=start)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "struck").exists()


def test_only_what_is_allowed_and_what_it_imports_is_found_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "installed").mkdir()
    for place, name, text in (
        ("here", "own_parts", "import own_helper\nfrom installed_library import found"),
        ("here", "own_helper", "from own_rest import value"),
        ("here", "own_rest", "value = 1"),
        ("here", "own_stray", STRIKES),
        ("here", "installed_library", STRIKES),
        (
            "installed",
            "installed_library",
            "try:\n    import own_stray as found\nexcept ImportError:\n    found = None",
        ),
    ):
        (tmp_path / place / f"{name}.py").write_text(text)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    monkeypatch.syspath_prepend(tmp_path / "installed")
    monkeypatch.chdir(tmp_path / "here")
    for name in ("own_parts", "own_helper"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)
    for _ in range(2):
        look_here_too(["own_parts.Laplace"])
    own = importlib.import_module("own_parts")
    assert (own.own_helper.value, own.found) == (1, None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("own_stray")
    assert str(tmp_path / "here") not in sys.path
    assert not (tmp_path / "here" / "struck").exists()


@pytest.mark.parametrize("name", ["faces.npz", "faces.npy", "missing.csv", "some.thing", "digits"])
def test_data_of_a_name_like_a_module_allow_no_code(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.zeros((9, 8, 8), np.uint8)
    np.savez("faces.npz", x=images)
    np.save("faces.npy", images)
    (tmp_path / "some.thing").mkdir()
    Image.fromarray(images[0]).save(tmp_path / "some.thing" / "a.png")
    before = [*sys.meta_path]
    for trusted in (True, False):
        assert train_vae.parse(["--dataset", name, "--out", "new"], trusted=trusted).allow_import == []
    assert sys.meta_path == before
    with pytest.raises(ValueError, match="no module thing_like with a function csv_of"):
        train_vae.parse(["--dataset", "thing_like.csv_of", "--out", "new"])


@pytest.mark.parametrize("name", ["stray.zip", "stray.H5", "stray.link"])
def test_a_file_that_is_missing_is_no_function(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stray.py").write_text(STRIKES)
    (tmp_path / "stray.link").symlink_to(tmp_path / "nowhere")
    assert not names_function(name)
    with pytest.raises((ValueError, DataError), match="there is no data set, file|of no known type"):
        train_vae.parse(["--dataset", name, "--out", "new"])
    assert not (tmp_path / "struck").exists()


def test_of_a_package_no_more_is_allowed_than_was_asked_for(tmp_path, monkeypatch):
    for name, text in (("__init__", ""), ("other", ALLOWED), ("sub", "from mine.other import Laplace")):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = {"init_args": {"latent_dim": 2}}
    for path, allow in (("mine.sub.Laplace", "mine.sub"), ("mine.other.Laplace", "mine.sub"), ("mine.X", "mine.sub")):
        with pytest.raises(ValueError, match=r"refused|no class"):
            build({"class_path": path, **arguments}, allow=[allow])
    for allow in ("mine", "mine.sub.Laplace"):
        assert build({"class_path": "mine.sub.Laplace", **arguments}, allow=[allow]).latent_dim == 2
    (tmp_path / "config.yaml").write_text("encoder: mine.other.Laplace\n")
    typed = ["--prior", "mine.sub.Laplace", "--config", str(tmp_path / "config.yaml"), "--out", "new"]
    with pytest.raises(ValueError, match="refused to import 'mine.other.Laplace'"):
        train_vae.parse(typed)


def test_parts_of_an_allowed_package_may_be_named(folder):
    quick = ["--dataset", "digits", "--epochs", 1, "--batch_size", 500, "--out", "own", "--overwrite"]
    (folder / "own.yaml").write_text("prior:\n  class_path: allowed.Laplace\n  init_args: {scale: 0.5}\n")
    refused = script("train_vae.py", "--config", "own.yaml", *quick, cwd=folder)
    assert "--allow_import allowed" in refused.stderr
    done = script("train_vae.py", "--config", "own.yaml", *quick, "--allow_import", "allowed", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert Run.open(folder / "own").pair["model"]["init_args"]["prior"]["init_args"]["scale"] == 0.5
    with pytest.raises(ValueError, match="--allow_import allowed"):
        load(folder / "own")


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.path)
def test_every_option_of_a_part_is_plain_or_a_part(part):
    for name, hint in part.options.items():
        alone = isinstance(hint, Role) or is_plain(hint) or hint is type(None)
        assert alone, f"{part.path} takes {name} as {hint}"
        assert "str" not in str(hint).replace("Role", ""), f"{name}: texts are from a list, Literal"
    name = part.name
    home = part.constructor.__module__
    assert find_part(name) is find_part(part.path) is find_part(f"{home}.{name}") is part
    assert len([other for other in parts() if other.name == part.name]) == 1


def test_old_run_folders_name_what_they_did():
    for path in ("pyro.infer.Trace_ELBO", "inference.objectives.DReG", "pyro_models.priors.GaussianMixture"):
        assert find_part(path).name == path.rpartition(".")[2]


@pytest.mark.parametrize(
    ("value", "hint", "right"),
    [
        (3, int, True), (True, int, False), (2**60, int, False), (3.0, int, False), ("3", int, False),
        (3, float, True), (float("nan"), float, False), (float("inf"), float, False), (False, float, False),
        (None, float | None, True), ("x", float | None, False), (1, bool, False), ([1, 2], list[int], True),
        ([1, [2]], list[int], False), ([1, True], list[int], False), ({}, list[int], False), ((1, 2), list[int], True),
    ],
)  # fmt: skip
def test_plain_values_fit_their_type(value, hint, right):
    assert fits(value, hint) is right


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x 1\nb: *x", "anchor"),
        ("a: &x 1", "anchor"),
        ("a: !!str 1", "tags"),
        ("a: !evil 1", "tags"),
        ("a: 1\na: 2", "twice"),
        ("1: 2", "names must be strings"),
        ("? [a]\n: 2", "names must be strings"),
        ("? {a: 1}\n: 2", "names must be strings"),
        ("[1, 2]", "mapping"),
        ("", "mapping"),
        ("a: 1\n---\nb: 2", "document"),
        ("a: " + "[" * 5000 + "]" * 5000, "cannot be read"),
        ("a: " + "9" * 5000, "cannot be read"),
        ("a: " + "x" * 200_000, "larger"),
        ("a: \x00", "cannot be read"),
        ("a: " + "1:" * 400 + "1.5", "cannot be read"),
    ],
)
def test_files_hold_plain_values_alone(tmp_path, text, says):
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(RunError, match=says) as caught:
        read_mapping(tmp_path / "file.yaml")
    assert "\n" not in str(caught.value)


def test_merge_keys_and_dates_are_texts(tmp_path):
    (tmp_path / "file.yaml").write_text("{<<: {a: 1}, b: 2024-13-45, c: =}")
    assert read_mapping(tmp_path / "file.yaml") == {"<<": {"a": 1}, "b": "2024-13-45", "c": "="}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda pair: pair["model"]["init_args"].update(prior={"same_as": "guide"}), "same_as names .guide."),
        (lambda pair: pair["model"]["init_args"].update(prior="pyro_models.StandardNormal"), "described by"),
        (lambda pair: pair["model"].update(dict_kwargs={"a": 1}), "alone"),
        (lambda pair: pair.update(other={"class_path": "VAE"}), "no part 'other'"),
        (lambda pair: pair["model"].update(class_path="pyro_models.MeanFieldGuide"), "is no model"),
        (lambda pair: pair["guide"]["init_args"].update(latent_dim=True), "a whole number"),
        (lambda pair: pair["guide"]["init_args"].update(self=1), "does not take 'self'"),
        (lambda pair: pair["guide"].update(init_args=[1]), "map names"),
    ],
)
def test_a_description_is_checked_whole_before_anything_is_made(change, says, monkeypatch):
    pair = described_vae((1, 8, 8), [4])
    change(pair)
    made = []
    monkeypatch.setattr(sys.modules["inference.runs.build"]._Builder, "call", lambda self, *what: made.append(what))
    with pytest.raises(ValueError, match=says):
        build(pair)
    assert not made
