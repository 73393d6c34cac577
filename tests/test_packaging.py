"""The wheel is complete and works in any folder; importing a package loads only what every user of it needs."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGES = ("pyro_models", "inference", "pyro_models_cli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = {
    *("zuko", "sklearn", "scipy", "matplotlib", "torchvision", "tensorboard", "jsonargparse", "docstring_parser"),
    *("jinja2", "beartype", "pandas", "accelerate"),
}
ABSENT = {
    "pyro_models": HEAVY | {"yaml", "safetensors", "filelock", "platformdirs"},
    "inference": HEAVY,
    "pyro_models_cli.start": HEAVY | {"torch", "pyro", "yaml"},
}


def output_of(*command: str | Path, folder: Path, path: Path) -> str:
    """What a command prints in a folder, with another folder searched first for packages."""
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ABSENT)
def test_importing_loads_no_library_that_only_some_need(module, tmp_path):
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = set(output_of(sys.executable, "-c", code, folder=tmp_path, path=ROOT).split())
    assert module.partition(".")[0] in loaded
    assert not loaded & ABSENT[module]


def test_both_packages_check_arguments_alike():
    twins = [ROOT / name for name in ("pyro_models/_arguments.py", "inference/system/arguments.py")]
    assert twins[0].read_text() == twins[1].read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built of a copy: setuptools writes beside its sources."""
    source = tmp_path_factory.mktemp("source")
    listed = ["pyproject.toml", "README.md", "LICENSE", "pretrained", *PACKAGES]
    subprocess.run(["cp", "-r", *(ROOT / name for name in listed), source], check=True)
    command = ["pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", "dist", "."]
    output_of(sys.executable, "-m", *command, folder=source, path=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    expected = {str(file) for file in files if "__pycache__" not in file.parts}
    assert {f"{package}/py.typed" for package in PACKAGES} <= expected
    assert {
        "pyro_models_cli/configs/zoo.yaml",
        "pyro_models_cli/report/report.html",
        "pyro_models_cli/explore/page/run.js",
    } <= expected
    assert expected <= names
    others = names - expected
    assert {name.partition("/")[0] for name in others} == {f"pyro_models-{PROJECT['version']}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in others)


def test_the_wheel_works_in_another_folder(wheel, tmp_path):
    installed = tmp_path / "site"
    install = ["pip", "install", "--quiet", "--no-deps", "--no-index", "--target", installed, wheel]
    output_of(sys.executable, "-m", *install, folder=tmp_path, path=installed)
    program = installed / "bin" / "pyro-models"
    code = f"import {', '.join(PACKAGES)}\nfor p in ({', '.join(PACKAGES)}): print(p.__file__)"
    for file in output_of(sys.executable, "-c", code, folder=tmp_path, path=installed).split():
        assert Path(file).is_relative_to(installed)
    code = "import pyro_models, inference; print(pyro_models.__version__, inference.__version__)"
    versions = output_of(sys.executable, "-c", code, folder=tmp_path, path=installed)
    assert versions.split() == [PROJECT["version"]] * 2
    told = output_of(program, "--version", folder=tmp_path, path=installed)
    assert told == f"pyro-models {PROJECT['version']}\n"
    train = ["train-vae", "--dataset=digits", "--epochs=1", "--decoder.hidden=[8]", "--encoder.hidden=[8]", "--out=run"]
    output_of(program, *train, folder=tmp_path, path=installed)
    output_of(program, "report", "run", folder=tmp_path, path=installed)
    assert (tmp_path / "run" / "metrics.csv").is_file()
