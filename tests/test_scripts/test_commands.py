"""Commands called from Python, and the installed program."""

import doctest
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import pyro_models_cli
from inference import Run
from inference.system import progress
from pyro_models_cli.commands import train_realnvp, train_vae
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.train_realnvp import TrainRealNVPOptions
from pyro_models_cli.commands.train_vae import TrainVAEOptions
from pyro_models_cli.options import CONFIGS, packaged
from pyro_models_cli.recorded import command_of
from pyro_models_cli.row_table import is_in
from pyro_models_cli.rows import is_of
from pyro_models_cli.start import COMMANDS, pyro_models

SMALL = {"class_path": "MLPEncoder", "init_args": {"hidden": [8]}}
TINY = TrainVAEOptions(
    dataset="digits",
    latent_dim=3,
    encoder=SMALL,
    decoder=SMALL | {"class_path": "MLPDecoder"},
    epochs=2,
    batch_size=500,
    device="cpu",
    out="run",
)


@pytest.fixture
def typed(monkeypatch):
    """Runs the installed program in this process; returns its exit code."""

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["pyro-models", *words])
        try:
            pyro_models()
        except SystemExit as stop:
            return stop.code or 0
        return 0

    return run


def test_a_run_from_python_is_the_run_of_the_command_that_it_records(tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    run = train_vae.train_vae(TINY)
    command = run.environment["command"]
    assert command.startswith("pyro-models train-vae ")
    record = evaluate("run", EvaluateOptions(m=[2, 4], repeats=1))
    assert record == run.evaluation()
    assert record["command"] == f"{command} && pyro-models evaluate run --m 2 4 --repeats=1"

    assert typed(*shlex.split(command)[1:-1], "--out", "again") == 0
    again = Run.open("again")
    assert again.config == run.config | {"out": "again"}
    assert again.metrics() == run.metrics()
    assert again.environment["command"] == f"{command.rpartition(' ')[0]} --out again"


def test_evaluation_reports_from_opening_the_data_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train_vae.train_vae(TINY)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.01)
    assert evaluate("run", EvaluateOptions(m=[2]))["repeats"] == 5
    phases = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert phases[0] == "opening the run and its data"
    assert "bounds, m = 1, 2" in phases
    evaluate("run", EvaluateOptions(m=[2], repeats=1))
    said = capsys.readouterr().out
    assert ", 1 repeat; in brackets the standard error over images, in nats\n" in said
    assert "±" not in said


def test_a_run_is_continued_with_its_own_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = train_vae.train_vae(TINY).config
    options = TrainVAEOptions(**config)
    assert options == TINY
    capsys.readouterr()
    train_vae.train_vae(replace(options, resume=True, epochs=3))
    assert f"\ncontinuing run after epoch {config['epochs']} of 3\n" in capsys.readouterr().out
    assert len(Run.open("run").metrics()) == 3
    with pytest.raises(ValueError, match="cannot change latent_dim"):
        train_vae.train_vae(replace(options, resume=True, latent_dim=4))


ALL = [
    TINY,
    replace(TINY, conditional=True, prior="ClassNormal", lr=1e-5, patience=3, num_validation=10, tf32=True),
    replace(TINY, objective={"class_path": "BetaELBO", "init_args": {"beta": 0.5}}, data_root="a folder", top_dim=2),
    replace(
        TINY, objective={"class_path": "Trace_ELBO", "init_args": {"max_plate_nesting": 3.0}}, mixed_precision="bf16"
    ),
    TrainRealNVPOptions(out="it's", clip_norm=None, dequantizer="FlowDequantizer"),
]


@pytest.mark.parametrize("options", ALL, ids=range(len(ALL)))
def test_a_recorded_command_gives_the_options_back(options):
    module = train_vae if isinstance(options, TrainVAEOptions) else train_realnvp
    name = f"train-{'vae' if module is train_vae else 'realnvp'}"
    words = shlex.split(command_of(name, options))
    assert words[:2] == ["pyro-models", name]
    assert module.parse(words[2:]) == replace(options, allow_import=[])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prior": "GausianMixture"}, "did you mean GaussianMixture"),
        ({"prior": "MLPDecoder"}, "unknown prior"),
        ({"prior": "os.system"}, "--allow_import os"),
        ({"prior": {"init_args": {}}}, "described by class_path"),
        ({"prior": 3}, "described by class_path"),
        ({"dataset": "mnits"}, "there is no data set, file or folder 'mnits'"),
        ({"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_wrong_options_are_refused_when_they_are_made(changes, says):
    with pytest.raises(ValueError, match=says):
        replace(TINY, **changes)


OLD = "python scripts/train_vae.py --dataset digits --epochs 2 --prior VampPrior"


@pytest.mark.parametrize(
    ("command", "same"),
    [
        (f"{OLD} --out runs/x && python scripts/evaluate.py runs/x --m 30", True),
        (f"{OLD} --out runs/x --data_root elsewhere --resume", True),
        (f"{OLD} --lr 2e-3 --out runs/x", True),  # its default
        (f"{OLD} --lr 1e-3 --out runs/x", False),
        (f"{OLD} --prior.num_components 50 --out runs/x", True),
        (f"{OLD} --config strange.yaml --out runs/x", False),
        (f"{OLD} --prior evil.Evil --out runs/x", False),
        ("pyro-models train-vae --prior=VampPrior --dataset=digits --epochs=2 --out=runs/x", True),
        ("python scripts/train_vae.py --out runs/x", False),
        ("python scripts/train_vae.py 'x --out runs/x", False),
        ("nothing", False),
    ],
)
def test_a_row_is_known_by_its_options_not_by_their_words(tmp_path, monkeypatch, command, same):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strange.yaml").write_text("lr: 0.002\n")  # a file that a table names is not read
    asked = TrainVAEOptions(dataset="digits", epochs=2, prior="VampPrior", out="elsewhere/x")
    assert is_in({"name": "x", "command": command}, asked) is same


def test_a_run_made_before_an_option_existed_is_of_its_row():
    config = TINY.config
    assert is_of(config | {"out": "elsewhere"}, TINY)
    assert not is_of(config | {"epochs": 3}, TINY)
    del config["on_nonfinite"], config["encoder"]["init_args"]["noise"]
    assert is_of(config, TINY)


def test_packaged_files_have_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert packaged("zoo") == CONFIGS / "zoo.yaml"
    assert train_vae.parse(["--config", "vae_course", "--out", "new"]).latent_dim == 10
    (tmp_path / "zoo").write_text("")
    assert packaged("zoo") == CONFIGS / "zoo.yaml"  # a file of that name in the current folder is ./zoo
    assert packaged("./zoo").resolve() == tmp_path / "zoo"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--version"], 0, "pyro-models "),
        (["--help"], 0, "collapse-study"),
        ([], 2, "a command is missing"),
        (["train_vae"], 2, "there is no command 'train_vae': did you mean train-vae?"),
        (["trian-vae"], 2, "did you mean train-vae?"),
        (["train-vae", "--pior", "VampPrior", "--out", "run"], 2, "did you mean --prior?"),
        (["train-vae", "--prior.num", "3", "--out", "run", "--prior", "VampPrior"], 2, "--prior.help NAME"),
        (["--x\n"], 2, "there is no command '--x\\n'"),
        (["sample", "nowhere"], 1, "there is no run folder nowhere"),
        (["evaluate", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_the_installed_program_tells_in_one_line(tmp_path, monkeypatch, typed, capsys, words, code, says):
    monkeypatch.chdir(tmp_path)
    assert typed(*words) == code
    captured = capsys.readouterr()
    assert says in (captured.err if code else captured.out)
    assert captured.err.count("\n") == (1 if code else 0)
    if words == ["--help"]:
        assert all(f"  {command} " in captured.out for command in COMMANDS)


def test_the_installed_program_runs_in_any_folder_and_imports_nothing_from_it(tmp_path):
    for name in ("jsonargparse", "torch", "yaml", "inference", "pyro_models_cli"):
        (tmp_path / f"{name}.py").write_text("print('imported')\n")
    command = [Path(sys.executable).parent / "pyro-models", "evaluate", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: pyro-models evaluate")


@pytest.mark.parametrize("module", [pyro_models_cli, train_vae, train_realnvp], ids=lambda module: module.__name__)
def test_examples_in_docstrings_run(tmp_path, monkeypatch, module):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("part", [{"latent_dim": 9}, {"guide": {"class_path": "evil.Part"}}])
def test_options_that_a_command_works_out_itself_are_refused(part):
    prior = {"class_path": "VampPrior", "init_args": part}
    with pytest.raises(ValueError, match="prior gets .* from the other options: leave it out"):
        train_vae.TrainVAEOptions(dataset="digits", out="new", latent_dim=4, prior=prior)


def test_equal_options_are_equal_however_they_were_written():
    made = train_vae.TrainVAEOptions(dataset="digits", out=Path("new"))
    assert made == train_vae.parse(["--dataset", "digits", "--out", "new"])


def test_a_row_that_was_resumed_elsewhere_is_still_that_row(tmp_path):
    options = train_vae.TrainVAEOptions(dataset="digits", out=str(tmp_path), device="cpu")
    config = {**options.config, "device": "auto", "on_nonfinite": "skip", "out": "moved"}
    assert is_of(config, options)
    assert not is_of({**config, "lr": 1.0}, options)
    for out in ("'--out=my runs/a'", "--out runs/a", "--out=runs/a"):
        row = {
            "name": "a",
            "command": f"pyro-models train-vae --dataset digits --lr 3e-3 {out} && more",
        }
        assert is_in(row, replace(options, lr=3e-3))
        assert not is_in(row, options)
