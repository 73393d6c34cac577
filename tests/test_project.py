"""Promises about the project itself: packaging, layers, README."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [entry for group in PROJECT["optional-dependencies"].values() for entry in group]
PEERS = PROJECT["optional-dependencies"]["bench"]  # what is measured against, and used by nothing
# names that differ on conda-forge, and what pip's extra "signatures" stands for there
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
CONDA_ONLY = {"python", "pip", "docstring-parser", "typeshed-client"}


def parse(entry: str) -> tuple[str, str]:
    """Name and lowest version of a requirement."""
    name, _, version = entry.partition(">=")
    return re.sub(r"\[.*\]", "", name).lower().replace("_", "-"), version


def versions(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def test_conda_environment_names_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    conda = dict(parse(entry) for entry in environment["dependencies"])
    pip = {CONDA.get(name, name): version for name, version in map(parse, PROJECT["dependencies"] + EXTRAS)}
    for name, _ in map(parse, PEERS):
        del pip[name]
    assert {name: conda.get(name) for name in pip} == pip
    assert conda.keys() - pip.keys() == CONDA_ONLY
    assert f">={conda['python']}" == PROJECT["requires-python"]


def test_constraints_pin_every_requirement_within_its_range():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {name.lower(): version for name, version in (line.split("==") for line in lines)}
    assert pins["torch"] == "2.13.0"
    assert pins["torchvision"] == "0.28.0"
    for name, lowest in map(parse, PROJECT["dependencies"] + EXTRAS):
        assert name in pins, f"{name} is not pinned in constraints.txt"
        assert versions(pins[name]) >= versions(lowest)


@pytest.mark.parametrize(("package", "other"), [("inference", "pyro_models"), ("pyro_models", "inference")])
def test_packages_do_not_import_one_another(package, other):
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert other not in {name.split(".")[0] for name in names}, file


def test_what_is_imported_is_required():
    required = {name for name, _ in map(parse, PROJECT["dependencies"])}
    modules = {"pyro": "pyro-ppl", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    for package in ("inference", "pyro_models", "scripts"):
        local = {file.stem for file in (ROOT / "scripts").glob("*.py")} | {"inference", "pyro_models"}
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in {name.split(".")[0] for name in names} - local - set(sys.stdlib_module_names):
                    assert modules.get(name, name) in required, f"{file} imports {name}"


def test_tables_are_made_from_the_results():
    from readme_table import pages

    for page, content in pages().items():
        assert page.read_text() == content, "run python scripts/readme_table.py"


def test_files_that_the_readme_names_exist():
    readme = (ROOT / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", readme) for link in link if link]
    scripts = re.findall(r"scripts/[\w/]+\.(?:py|yaml)", readme)
    for name in [link for link in links if "://" not in link] + scripts:
        assert (ROOT / name).exists(), name


def test_minimal_svi_fits_on_a_page():
    assert len(Path(ROOT / "scripts" / "minimal_svi.py").read_text().splitlines()) <= 80


def test_python_in_the_readme_runs():
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, flags=re.S)
    assert len(blocks) == 3
    names: dict = {}
    exec(blocks[0], names)
    assert names["Laplace"](3, 0.7)().event_shape == (3,)
    exec(blocks[1].replace("epochs=20", "epochs=1"), names)
    before = [p.clone() for p in names["model"].parameters()]
    exec(blocks[2].replace("guide))", 'guide), backend="eager")'), names)
    assert all((a != b).any() for a, b in zip(before, names["model"].parameters(), strict=True))
