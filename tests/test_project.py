"""Promises about the project itself: packaging, layers, README."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import torch
import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [entry for group in PROJECT["optional-dependencies"].values() for entry in group]
# what is measured against, what builds the site and the exercise, a browser, heavy trackers: no test needs them
NOT_NEEDED = ("bench", "browser", "docs", "exercise", "wandb", "mlflow")
PEERS = [entry for group in NOT_NEEDED for entry in PROJECT["optional-dependencies"][group]]
# what commands import where they need it
OPTIONAL = {"huggingface-hub", "wandb", "mlflow-skinny"}
# names that differ on conda-forge, and what pip's extra "signatures" stands for there
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
CONDA_ONLY = {"python", "pip", "typeshed-client"}


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


def test_the_workflow_tests_the_pythons_that_are_declared():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    job = workflow["jobs"]["test"]
    declared = [entry.rpartition(" ")[2] for entry in PROJECT["classifiers"] if ":: Python :: 3." in entry]
    assert job["strategy"]["matrix"]["python"] == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[1:] == ["make lint", "make test"]


def test_every_commit_passes_what_make_lint_runs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == ["make lint"]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def pins_in(name: str) -> dict[str, str]:
    """What a list of constraints holds every package to."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return {package.lower(): version for package, version in (line.split("==") for line in lines)}


def test_constraints_pin_every_requirement_within_its_range():
    pins = pins_in("constraints.txt")
    assert pins["torch"] == "2.13.0"
    assert pins["torchvision"] == "0.28.0"
    for name, lowest in map(parse, PROJECT["dependencies"] + EXTRAS):
        assert name in pins, f"{name} is not pinned in constraints.txt"
        assert versions(pins[name]) >= versions(lowest)


def test_the_oldest_set_is_the_lower_bounds():
    lowest = dict(map(parse, PROJECT["dependencies"] + EXTRAS))
    for name, _ in map(parse, PEERS):
        del lowest[name]
    assert pins_in("constraints-oldest.txt") == lowest


@pytest.fixture
def make(tmp_path):
    """``make`` on a copy whose Python only writes down, in ``calls``, what it is asked to do; pip fails on request."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-oldest.txt"):
        shutil.copy(ROOT / name, tmp_path)

    def program(name: str, body: str) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)

    def run(*arguments: str, machine: str = "Linux x86_64", gpu: bool = False, index: bool = True):
        program(
            ".venv/bin/python", f'echo "$@" >> calls\ncase "$*" in *--index-url*) {"true" if index else "false"};; esac'
        )
        program("bin/uname", f"echo {machine}")
        program("bin/nvidia-smi", "true" if gpu else "false")
        (tmp_path / "calls").write_text("")
        command = ["make", f"--directory={tmp_path}", "--no-print-directory", *arguments]
        path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
        done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)
        return done, (tmp_path / "calls").read_text().splitlines()

    return run


def test_the_cpu_build_of_torch_comes_first_and_stays(make, tmp_path):
    done, calls = make("install", "TORCH=cpu")
    assert done.returncode == 0, done.stderr
    torch, rest = calls
    assert torch.endswith("--timeout 10 --retries 1 --index-url https://download.pytorch.org/whl/cpu torch torchvision")
    assert "-c constraints.txt" in torch
    assert "--no-deps" in torch
    assert rest.endswith("-c constraints.txt -e .[dev,hub,tensorboard]")
    assert make("install")[1] == []
    for stamp in tmp_path.glob(".venv/.*"):
        os.utime(stamp, (0, 0))  # as if the lists had changed since
    assert make("install")[1] == calls, "the CPU build is forgotten when the lists change"


def test_an_index_that_is_out_of_reach_is_told(make, tmp_path):
    done, calls = make("install", "TORCH=cpu", index=False)
    assert done.returncode == 2
    assert len(calls) == 1
    told = done.stdout.splitlines()[-1]
    assert "https://download.pytorch.org/whl/cpu" in told
    assert "make install TORCH=" in told
    assert not list(tmp_path.glob(".venv/.*"))
    assert make("install", "TORCH=gpu")[0].stderr.count("TORCH=cpu") == 1


def test_files_of_tests_are_shared_out_over_processes_of_one_thread(make):
    for workers, given in (("auto", []), ("3", ["WORKERS=3"])):
        done, _ = make("test", *given, "--dry-run")
        commands = [line for line in done.stdout.splitlines() if "-m pytest" in line]
        assert len(commands) == 2
        assert all(f"-n {workers} --dist loadfile" in line for line in commands)
        assert all(line.startswith("OMP_NUM_THREADS=1 ") for line in commands)


@pytest.mark.parametrize(
    ("machine", "gpu", "torch", "told"),
    [
        ("Linux x86_64", False, "", True),
        ("Linux x86_64", True, "", False),
        ("Linux x86_64", False, "cpu", False),
        ("Linux aarch64", False, "", False),
        ("Darwin arm64", False, "", False),
    ],
)
def test_gigabytes_of_cuda_are_told_where_there_is_no_gpu(make, machine, gpu, torch, told):
    done, _ = make("install", f"TORCH={torch}", machine=machine, gpu=gpu)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "CUDA" in line]
    assert len(lines) == told
    assert all("make install TORCH=cpu" in line for line in lines)


def test_what_is_imported_is_required():
    required = {name for name, _ in map(parse, PROJECT["dependencies"])}
    modules = {"pyro": "pyro-ppl", "sklearn": "scikit-learn", "yaml": "pyyaml", "docstring_parser": "docstring-parser"}
    modules["huggingface_hub"] = "huggingface-hub"
    modules["mlflow"] = "mlflow-skinny"
    modules["PIL"] = "torchvision"  # which brings it
    local = {"inference", "pyro_models", "pyro_models_cli"}
    for package in (*local, "scripts"):
        for file in (ROOT / package).rglob("*.py"):
            tree = ast.parse(file.read_text())
            functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
            within = {node for function in functions for node in ast.walk(function)}
            for node in ast.walk(tree):
                known = required | OPTIONAL if node in within else required
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in {name.split(".")[0] for name in names} - local - set(sys.stdlib_module_names):
                    assert modules.get(name, name) in known, f"{file} imports {name}"


def test_places_to_break_on_purpose_are_there():
    from mutate import MUTATIONS

    for name, (file, before, after, tests) in MUTATIONS.items():
        assert before in (ROOT / file).read_text(), f"{name}: {file} has changed"
        assert before != after
        assert (ROOT / "tests" / tests).exists(), name


def test_tables_are_made_from_the_results():
    from readme_table import pages

    for page, content in pages().items():
        assert page.read_text() == content, "run python tools/readme_table.py"


PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", *(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    text, folder = (ROOT / page).read_text(), (ROOT / page).parent
    links = [link for found in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", text) for link in found if link]
    for name in links:
        assert "://" in name or (folder / name).exists(), name
    for name in re.findall(r"(?:scripts|tools|benchmarks)/[\w/]+\.(?:py|yaml)", text):
        assert (ROOT / name).exists(), name


def test_the_readme_is_short_and_begins_with_code_that_runs():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 150
    assert lines.index("```python") < 40


def test_python_in_the_readme_and_the_page_on_parts_runs():
    heart, first = blocks_of("README.md")
    names = one_file_names()
    exec(heart, names)
    assert names["svi"].step(torch.zeros(5, 1, 8, 8)) > 0
    exec(first.replace("epochs=20", "epochs=1"), names)
    assert names["log_w"].shape[0] == 50

    laplace, student, pair, functions, vectors, loop = blocks_of("docs/parts.md")
    exec(laplace, names)
    assert names["Laplace"](3, 0.7)().event_shape == (3,)
    for block in (student, pair):
        exec(block.replace("epochs=20", "epochs=1"), names)
    for block in (functions, vectors):
        exec(block.replace("epochs=20", "epochs=1"), names)
    assert (names["pyro"].param("scale") != 1).any()
    first, steps = loop.split("optimizer = ")
    exec(first.replace("Guide()))", 'Guide()), backend="eager")'), names)
    before = [p.clone() for p in names["step"].parameters()]
    exec("optimizer = " + steps, names)
    assert all((a != b).any() for a, b in zip(before, names["step"].parameters(), strict=True))


def one_file_names() -> dict:
    """What stands around the heart of tutorial/vae.py."""
    names: dict = {}
    exec((ROOT / "tutorial" / "vae.py").read_text(), names)
    vae = names["VAE"]((1, 8, 8))
    return names | {"softplus": torch.nn.functional.softplus, "encoder": vae.encoder, "decoder": vae.decoder}


def test_python_in_the_page_on_running_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands, figures = blocks_of("docs/running.md")
    names: dict = {}
    exec(commands.replace("epochs=5", "epochs=1"), names)
    assert names["record"]["negative_iwae"]["50"]["value"] < names["record"]["negative_elbo"]["value"]
    exec(figures.replace("epochs=20", "epochs=1"), names)
    assert {file.name for file in tmp_path.glob("*.png")} == {"curves.png", "means.png", "ring.png"}


def test_python_in_the_page_on_data_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks_of("docs/data.md"):
        exec(re.sub(r"epochs=\d+", "epochs=1", block), names)
    assert names["opened"].record["num_test"] == 400
    assert names["x"].shape == (100, 8)


def blocks_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.S)
