"""Whatever is killed or interrupted, at any moment: nothing is lost, and the next start carries on to the same end.

PYRO_MODELS_KILLS sets how many kills are tried of each kind of run, at random moments and before calls that change
files; from 100 on, these are all such calls.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from warm import Done, Warm

from inference import Run, load

KILLS = int(os.environ.get("PYRO_MODELS_KILLS", "3"))
BASE = ["--dataset", "digits", "--latent_dim", "3", "--encoder.hidden", "[8]", "--decoder.hidden", "[8]"]
BASE += ["--batch_size", "25", "--device", "cpu", "--num_validation", "100"]
KINDS = {
    "eager": [*BASE, "--epochs", "20", "--compile", "off", "--prior", "GaussianMixture"],
    "compiled": [*BASE, "--epochs", "20", "--compile", "on", "--objective", "BetaELBO", "--objective.warm_up", "0.5"],
}


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "scripts" / "train_vae.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> str:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory) -> tuple[list[str], Path, float]:
    """The options of a run, the run left alone, and the seconds that it took."""
    out = tmp_path_factory.mktemp(request.param) / "whole"
    started = time.perf_counter()
    finish(start(*KINDS[request.param], "--out", str(out)))
    return KINDS[request.param], out, time.perf_counter() - started


def resume(options: list[str], out: Path) -> str:
    """As a person would: a run whose folder was never complete is started again."""
    begun = (out / "config.yaml").is_file()
    return finish(start("--out", str(out), "--resume") if begun else start(*options, "--out", str(out)))


def assert_same(whole: Path, out: Path) -> None:
    for name in ("checkpoints/last.safetensors", "checkpoints/best.safetensors", "metrics.csv", "model.yaml"):
        assert (whole / name).read_bytes() == (out / name).read_bytes(), name
    assert len(Run.open(out).seconds()) == 20


@pytest.mark.parametrize("seed", range(max(1, KILLS // 25)))
def test_a_run_killed_at_any_moment_ends_as_the_run_left_alone(whole, tmp_path, seed):
    options, left_alone, seconds = whole
    process = start(*options, "--out", str(tmp_path / "run"))
    time.sleep(random.Random(seed).uniform(0.4, 1.0) * seconds)
    process.kill()
    process.communicate()
    done = len(Run(tmp_path / "run").metrics())
    resume(options, tmp_path / "run")
    assert_same(left_alone, tmp_path / "run")
    print(f"killed after {done} epochs")


def wait_for(file: Path, process: subprocess.Popen) -> None:
    while not file.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def told(err: str) -> list[str]:
    """What a run printed, without the progress lines that a slow run adds."""
    return [line for line in err.splitlines() if not line.startswith("training: ")]


def test_an_interrupted_run_saves_and_goes_on_from_there(whole, tmp_path):
    options, left_alone, _ = whole
    signum = signal.SIGTERM if "on" in options else signal.SIGINT
    process = start(*options, "--out", str(tmp_path / "run"))
    wait_for(tmp_path / "run" / "checkpoints" / "last.safetensors", process)
    time.sleep(random.Random(int(signum)).uniform(0, 0.2))
    process.send_signal(signum)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 128 + signum
    (line,) = told(err)
    assert line.startswith("train_vae.py: error: interrupted in epoch ")
    epoch = load(tmp_path / "run").epoch
    assert epoch >= len(Run.open(tmp_path / "run").metrics())
    if epoch % 1:
        process = start("--out", str(tmp_path / "run"), "--resume", "--epochs", str(int(epoch)))
        assert "is under way" in process.communicate()[1]
        assert process.returncode == 2
    assert "never finished" not in resume(options, tmp_path / "run")
    assert_same(left_alone, tmp_path / "run")


def test_an_interrupt_while_libraries_are_imported_is_one_line(tmp_path):
    for wait in (0.6, 1.0):
        process = start(*KINDS["eager"], "--out", str(tmp_path / "run"))
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
        assert process.returncode == 130
        (line,) = told(err)
        assert line.startswith("train_vae.py: error: interrupted")


# in forks of a process that has everything imported

TINY = ["--dataset", "digits", "--latent_dim", "2", "--encoder.hidden", "[4]", "--decoder.hidden", "[4]"]
TINY += ["--batch_size", "500", "--num_validation", "100", "--compile", "off", "--epochs", "3", "--device", "cpu"]
OLD, NEW = ([*TINY, "--lr", lr] for lr in ("1e-3", "1e-2"))
EVALUATE = ["evaluate.py", "run", "--m", "2", "--repeats", "1", "--num_images", "9", "--device", "cpu"]
FOREIGN = {"notes.txt": "mine", "checkpoints/mine.safetensors": "mine", "figures/mine.png": "mine"}
MADE = ("last.safetensors", "best.safetensors", "previous.safetensors")
MADE = (*(f"checkpoints/{name}" for name in MADE), "metrics.csv", "model.yaml", "config.yaml")
RESULTS = ("evaluation_first_9.json", "diagnosis.json", "figures/samples.png", "checkpoints/previous.safetensors")


@pytest.fixture(scope="module")
def warm():
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="module")
def alone(warm, tmp_path_factory) -> Path:
    """Runs that nothing befell: one with results and files of the user's, one to replace it, one to be continued."""
    folder = tmp_path_factory.mktemp("alone")
    kill_at = None
    for name, options in (("old", OLD), ("new", NEW), ("cut", OLD)):
        (folder / name).mkdir()
        done = warm.run("train_vae.py", *options, "--out", "run", cwd=folder / name, kill_at=kill_at)
        assert done.code == (-9 if name == "cut" else 0), done.err
        kill_at = done.calls * 2 // 3 if name == "new" else None  # in the second of three epochs
    done = warm.run(*EVALUATE, cwd=folder / "old")
    assert done.code == 0, done.err
    for name in (*FOREIGN, "diagnosis.json", "figures/samples.png"):
        (folder / "old" / "run" / name).parent.mkdir(exist_ok=True)
        (folder / "old" / "run" / name).write_text(FOREIGN.get(name, "{}"))
    return folder


@pytest.fixture(params=["moment", "call"])
def killed(request, warm):
    """Kills a script at one point after another, each time in a folder prepared anew, and checks what is left."""

    def kill(prepare, arguments: list[str], check) -> None:
        started = time.perf_counter()
        whole = succeed(warm.run(*arguments, cwd=prepare()))
        seconds, chosen = time.perf_counter() - started, random.Random(len(arguments))
        if request.param == "moment":
            points = [{"kill_after": chosen.uniform(0, seconds)} for _ in range(KILLS)]
        else:
            calls = range(1, whole.calls + 1)
            points = [{"kill_at": call} for call in (calls if KILLS >= 100 else chosen.sample(calls, KILLS))]
        codes = []
        for number, point in enumerate(points):
            folder = prepare()
            done = warm.run(*arguments, cwd=folder, **point)
            assert done.code in (0, -9), (point, done)
            codes.append(done.code)
            try:
                check(number, folder)
            except BaseException as error:
                error.add_note(f"{arguments[0]} killed at {point}, see {folder}")
                raise
            shutil.rmtree(folder)
        print(f"{arguments[0]}: {len(codes)} kills, {codes.count(0)} of them after the end")

    return kill


def succeed(done: Done) -> Done:
    assert done.code == 0, done
    return done


def go_on(warm: Warm, options: list[str], folder: Path) -> None:
    """As a person would: what cannot be resumed, as it had not begun, is started again."""
    done = warm.run("train_vae.py", "--out", "run", "--resume", cwd=folder)
    if "there is no run to resume" in done.err:
        done = warm.run("train_vae.py", *options, "--out", "run", cwd=folder)
    succeed(done)


def files_in(run: Path, names: tuple[str, ...] = MADE) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in names if (run / name).is_file()}


def leftovers(run: Path) -> list[Path]:
    return [file for file in run.rglob("*") if file.suffix == ".tmp" or file.name.startswith((".new", ".wh", ".pl"))]


def assert_weights_are_known(run: Path) -> None:
    """What there is can be loaded, and the metrics have the epochs of these weights."""
    if not (run / "config.yaml").is_file() or not Run.open(run).has_checkpoint:
        return
    epochs = [row["epoch"] for row in Run.open(run).metrics()]
    for checkpoint in ("last", "best"):
        assert load(run, checkpoint).epoch in epochs


def folders(tmp_path: Path, source: Path | None = None):
    """Makes folders for one run each, empty or with a copy of one."""

    def make() -> Path:
        folder = tmp_path / str(time.monotonic_ns())
        folder.mkdir()
        if source is not None:
            shutil.copytree(source, folder / "run")
        return folder

    return make


@pytest.fixture
def check_continued(warm, alone):
    """What is left of a run is known, and going on with it gives the run left alone."""
    expected = files_in(alone / "old" / "run")

    def check(number: int, folder: Path) -> None:
        assert_weights_are_known(folder / "run")
        go_on(warm, OLD, folder)
        assert files_in(folder / "run") == expected
        assert not leftovers(folder / "run")

    return check


def test_a_killed_run_is_gone_on_with(killed, check_continued, tmp_path):
    killed(folders(tmp_path), ["train_vae.py", *OLD, "--out", "run"], check_continued)


def test_a_killed_continuation_is_gone_on_with(killed, check_continued, alone, tmp_path):
    prepare = folders(tmp_path, alone / "cut" / "run")
    killed(prepare, ["train_vae.py", "--resume", "--out", "run"], check_continued)


def test_of_a_killed_replacement_one_of_the_two_runs_is_whole(warm, alone, killed, tmp_path):
    old, new = (files_in(alone / name / "run", (*MADE, *RESULTS)) for name in ("old", "new"))
    arguments = ["train_vae.py", *NEW, "--out", "run", "--overwrite"]
    found = []

    def replaced_again(run: Path) -> None:
        succeed(warm.run(*arguments, cwd=run.parent))
        assert files_in(run, (*MADE, *RESULTS)) == new

    def resumed(run: Path) -> None:
        is_old = Run.open(run).config["lr"] == 1e-3
        found.append("old" if is_old else "new")
        go_on(warm, ["nothing is to be started again"], run.parent)
        assert files_in(run, (*MADE, *RESULTS)) == (old if is_old else new)

    def evaluated(run: Path) -> None:
        succeed(warm.run(*EVALUATE, cwd=run.parent))
        record = json.loads((run / "evaluation_first_9.json").read_text())
        assert record["pair"] == Run.open(run).pair
        assert record["epochs"] == load(run).epoch
        assert_weights_are_known(run)

    def check(number: int, folder: Path) -> None:
        for step in ((replaced_again,), (resumed,), (evaluated, replaced_again))[number % 3]:
            step(folder / "run")
        assert not leftovers(folder / "run")
        assert {name: (folder / "run" / name).read_text() for name in FOREIGN} == FOREIGN

    killed(folders(tmp_path, alone / "old" / "run"), arguments, check)
    print(f"resumed was the old run {found.count('old')} times, the new one {found.count('new')} times")


def test_a_killed_evaluation_leaves_the_run_and_is_made_again(warm, alone, killed, tmp_path):
    before, records = files_in(alone / "new" / "run"), []

    def note_record(run: Path) -> None:
        assert files_in(run) == before
        if (run / "evaluation_first_9.json").is_file():
            record = json.loads((run / "evaluation_first_9.json").read_text())
            records.append({key: record[key] for key in ("negative_elbo", "negative_iwae", "epochs", "minutes")})

    def check(number: int, folder: Path) -> None:
        note_record(folder / "run")
        succeed(warm.run(*EVALUATE, cwd=folder))
        note_record(folder / "run")
        assert not leftovers(folder / "run")

    killed(folders(tmp_path, alone / "new" / "run"), EVALUATE, check)
    assert records.count(records[0]) == len(records)
