"""Every option of every script, with values that are wrong: one line, a non-zero exit code, and nothing lost.

PYRO_MODELS_EXAMPLES sets how many commands of each script are tried.
"""

import importlib
import inspect
import os
import re
import runpy
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.runs.build import import_object

EXAMPLES = int(os.environ.get("PYRO_MODELS_EXAMPLES", "10"))
SCRIPTS = ROOT / "scripts"
import pyro_models_cli.parser as _cli  # noqa: E402
import pyro_models_cli.training as _training  # noqa: E402
from pyro_models_cli.choices import is_given  # noqa: E402

QUICK = ["--dataset", "digits", "--epochs", "1", "--batch_size", "500", "--device", "cpu"]
WRONG = st.one_of(
    st.sampled_from(["", "x", "-1", "0", "1.5", "nan", "inf", "-inf", "1e400", "[]", "[0]", "[-1]", "[a]", "{", "{}"]),
    st.sampled_from(
        ["null", "true", "../x", "/proc/x", "os.system", "os", "pyro_models.VAE", "😀", "\\", "a: b", "&a"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
    st.integers(-3, 3).map(str),
    st.floats(-3, 3).map(str),
)
RIGHT = {
    "train_vae.py": [*QUICK, "--encoder.hidden", "[4]", "--decoder.hidden", "[4]", "--out", "new"],
    "train_realnvp.py": [*QUICK, "--flow.hidden", "[4]", "--flow.pairs", "1", "--out", "new"],
    "evaluate.py": ["vae", "--m", "2", "--repeats", "1", "--num_images", "5", "--device", "cpu"],
    "sample.py": ["vae", "--num_samples", "2"],
    "diagnose.py": ["vae", "--num_images", "10", "--num_weighted", "2", "--num_samples", "20"],
    "inpaint.py": ["flow", "--num_images", "1", "--num_chains", "1", "--num_samples", "1", "--warm_up", "1"],
    "report.py": ["vae", "--out", "report"],
    "zoo.py": ["--list", "rows.yaml", "--common", " ".join(QUICK), "--out", "zoo", "--num_samples", "20"],
    "collapse_study.py": [
        "--rows",
        "collapsed",
        "--common",
        " ".join(QUICK),
        "--num_samples",
        "20",
        "--num_images",
        "50",
    ],
}
SLOW = {"report.py", "collapse_study.py", "zoo.py", "inpaint.py"}


def run(name: str, arguments: list[str], capsys) -> tuple[int, str]:
    """A script in this process: its exit code and what it wrote to stderr."""
    sys.argv = [str(SCRIPTS / name), *arguments]
    capsys.readouterr()
    try:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    except SystemExit as stop:
        return stop.code or 0, capsys.readouterr().err
    return 0, capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(autouse=True)
def _in_folder(folder, monkeypatch, capsys):
    """A folder with a small run of each kind."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", sys.argv)
    if not (folder / "vae").exists():
        for name, out in (("train_vae.py", "vae"), ("train_realnvp.py", "flow")):
            code, err = run(name, [*RIGHT[name][:-1], out], capsys)
            assert code == 0, err
        (folder / "rows.yaml").write_text("plain: --latent_dim 2 --encoder.hidden [4] --decoder.hidden [4]\n")


def options_of(name: str, capsys) -> list[str]:
    sys.argv = [str(SCRIPTS / name), "--help"]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    found = re.findall(r"^\s+(--[a-z0-9_.]+)", capsys.readouterr().out, re.MULTILINE)
    return sorted({option for option in found if option not in ("--help", "--print_config") and "help" not in option})


def options_of_parts(name: str) -> list[str]:
    """The options of every part that a script swaps, each behind the name of its part."""
    script = importlib.import_module(f"pyro_models_cli.commands.{name.removesuffix('.py')}")
    choices = [value for value in (*vars(script).values(), _training.OBJECTIVE) if isinstance(value, _cli.Choice)]
    return [
        f"--{choice.role}={part} --{choice.role}.{option}"
        for choice in choices
        for part in choice.names
        for option in inspect.signature(import_object(part)).parameters
        if not is_given(option, part)
    ]


def contents(folder: Path) -> dict[Path, bytes]:
    kept = ("model.yaml", "config.yaml", "metrics.csv", "last.safetensors")
    return {f: f.read_bytes() for part in ("vae", "flow") for f in (folder / part).rglob("*") if f.name in kept}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RIGHT)
def test_wrong_options_get_one_line(name, folder, capsys):
    options = options_of(name, capsys)
    assert options
    options += options_of_parts(name) if name.startswith("train") else []
    before = contents(folder)
    tried = []

    @settings(
        max_examples=max(2, EXAMPLES // (5 if name in SLOW else 1)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(st.sampled_from(options), WRONG)
    def try_one(option, value):
        tried.append(option)
        out = [] if "--out" not in RIGHT[name] or option == "--out" else ["--out", f"new{len(tried)}"]
        *part, own = option.split()
        code, err = run(name, [*RIGHT[name], *out, *part, f"{own}={value}"], capsys)
        if code == 0:
            return
        news = (f"{name}: warning", "the best constants without a code:")  # the latter on a slow machine
        lines = [line for line in err.splitlines() if not line.startswith(news)]
        assert code in (1, 2), (option, value)
        assert len(lines) == 1, (option, value, err)
        assert lines[0].startswith(f"{name}: error: "), (option, value, err)
        assert "PYRO_MODELS_DEBUG" not in err, (option, value, err)  # told of what nobody foresaw

    try_one()
    assert contents(folder) == before
    assert len(tried) >= 2
