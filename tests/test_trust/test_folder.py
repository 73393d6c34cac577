"""One run at a time in a folder, places that cannot be written, output that nobody can read: told before the work."""

import builtins
import errno
import fcntl
import io
import json
import os
import runpy
import shutil
import stat
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from conftest import ROOT, described_vae

from inference import Images, Run, RunError, Settings, build, fit, load, set_seed
from inference.runs.folder import locked
from inference.system.files import try_writing, write_whole

SCRIPTS = ROOT / "scripts"
import pyro_models_cli.streams as _streams  # noqa: E402

PAIR = described_vae([1, 2, 2], [3], "StandardNormal")
IMAGES = Images(
    "bits", (torch.arange(80).reshape(20, 1, 2, 2) * 7 % 11 < 5).byte(), torch.zeros(20).long(), 2, "static"
)
TINY = ["--dataset", "digits", "--latent_dim", "2", "--encoder.hidden", "[4]", "--decoder.hidden", "[4]"]
TINY += ["--batch_size", "500", "--compile", "off", "--epochs", "1", "--device", "cpu"]
HOLD = (
    "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
)


def train(run: Run, resume: bool = False, epochs: int = 2, **settings):
    set_seed(0)
    pair = build(PAIR)
    settings = Settings(epochs=epochs, device="cpu", **settings)
    return fit(pair["model"], pair["guide"], IMAGES, IMAGES, settings, run=run, resume=resume)


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs a script in this process: its exit code, what it printed and its errors."""

    def run(name: str, *arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS / name), *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of the command line."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    command = [sys.executable, str(SCRIPTS / "train_vae.py"), *TINY, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(trained, tmp_path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


# two at once


@pytest.fixture
def held(run):
    """A run in whose folder another process trains."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, run / ".run.lock"], stdin=-1, stdout=-1)
    holder.stdout.readline()
    yield holder
    holder.kill()
    holder.communicate()


def test_a_second_training_in_a_folder_is_refused_until_the_first_is_dead(run, held, script):
    before = contents(run)
    for arguments in ([*TINY, "--overwrite"], ["--resume", "--epochs", "2"]):
        code, out, err = script("train_vae.py", *arguments, "--out", run)
        assert (code, out) == (1, "")
        assert err == f"train_vae.py: error: another process is training in {run}: " + (
            "wait until it has finished, or choose another folder\n"
        )
    for use in (lambda: Run.create(run, {}, PAIR, overwrite=True), lambda: train(Run.open(run), resume=True)):
        with pytest.raises(RunError, match="another process is training"):
            use()
    assert contents(run) == before
    held.kill()
    held.communicate()
    code, _, err = script("train_vae.py", "--resume", "--epochs", "2", "--out", run)
    assert (code, err) == (0, "")


def test_a_run_being_trained_is_evaluated_by_any_number(run, held, script):
    evaluation = ["evaluate.py", run, "--m", 2, "--repeats", 1, "--num_images", 9, "--device", "cpu"]
    assert script(*evaluation)[0] == 0
    with (run / "evaluation.json.abcdefgh.tmp").open("w") as writing:  # another evaluation at work
        fcntl.flock(writing, fcntl.LOCK_EX)
        (run / "evaluation.json.00000000.tmp").touch()  # one that was killed
        assert script(*evaluation)[0] == 0
        assert [file.name for file in run.glob("*.tmp")] == ["evaluation.json.abcdefgh.tmp"]


def test_of_two_trainings_started_at_once_one_is_refused(tmp_path):
    rates = ("0.001", "0.01")
    command = [sys.executable, str(SCRIPTS / "train_vae.py"), *TINY, "--epochs", "30", "--out", str(tmp_path / "run")]
    both = [subprocess.Popen([*command, "--lr", lr], stdout=-1, stderr=-1, text=True) for lr in rates]
    told = [process.communicate(timeout=300)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    first = [process.returncode for process in both].index(0)
    assert told[first] == ""
    assert told[1 - first].count("\n") == 1
    assert "another process is training" in told[1 - first] or "already holds a run" in told[1 - first]
    assert Run.open(tmp_path / "run").config["lr"] == float(rates[first])
    assert len(Run.open(tmp_path / "run").metrics()) == 30


def test_a_lock_is_entered_again_by_its_own_thread_and_by_no_other(tmp_path):
    failures = []

    def other():
        try:
            with locked(tmp_path, patience=0):
                pass
        except RunError as error:
            failures.append(error)

    with locked(tmp_path), locked(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(failures) == 1
    with locked(tmp_path, patience=0):
        pass


def test_a_run_that_was_replaced_before_it_was_trained_is_not_mixed_with_the_other(tmp_path):
    mine = Run.create(tmp_path / "run", {"seed": 0}, PAIR)
    Run.create(tmp_path / "run", {"seed": 1}, PAIR)
    with pytest.raises(RunError, match="another run has been written"):
        train(mine)


def test_results_are_not_written_to_another_run(run):
    mine = Run.open(run)
    train(Run.create(run, {"seed": 1}, PAIR, overwrite=True))
    with pytest.raises(RunError, match="another run has been written"):
        mine.write_result("evaluation.json", "{}")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_gets_a_clear_word(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RunError, match="cannot be locked for writing.*choose a folder on another disk"):
        Run.create(tmp_path / "run", {}, PAIR)
    write_whole(tmp_path / "file", "other files are written all the same")
    assert [file.name for file in tmp_path.glob("file*")] == ["file"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_disk_that_cannot_sync_folders_is_written_to_and_one_that_fails_is_told(tmp_path, monkeypatch, number):
    def fsync(descriptor, original=os.fsync):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=os.strerror(number)) if number == errno.EIO else nullcontext():
        write_whole(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


# one run in the place of another


@pytest.mark.parametrize(
    "broken",
    [
        ["--batch_size", "99999999999999999999"],
        ["--lr", "1e40"],
        ["--dataset", "mnist", "--data_root", "/dev/null/none"],
        ["--encoder.hidden", "[99999999999999]"],
        ["--tensorboard", "true"],
    ],
    ids=lambda options: options[0],
)
def test_a_run_is_kept_until_another_can_take_its_place(run, script, monkeypatch, broken):
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "inference.training.settings.find_spec", lambda name: None if name == "tensorboard" else find_spec(name)
    )
    before = contents(run)
    code, _, err = script("train_vae.py", *TINY, *broken, "--out", run, "--overwrite")
    assert code in (1, 2)
    assert err.count("\n") == 1, err
    after = contents(run)
    assert after.pop(run / ".run.lock", b"") == b""
    assert after == {file: content for file, content in before.items() if file.name != ".run.lock"}
    assert not [file for file in run.iterdir() if file.name.startswith(".new")]


def test_room_for_two_runs_is_asked_for_before_one_is_touched(run, script, monkeypatch):
    before = contents(run)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    code, _, err = script("train_vae.py", *TINY, "--out", run, "--overwrite")
    assert code == 1
    assert "make room" in err
    assert {file: content for file, content in contents(run).items() if file in before} == before


def test_files_of_the_users_stay_when_a_run_is_replaced(run):
    kept = {
        run / "notes.txt": "mine",
        run / "checkpoints" / "epoch1.safetensors": "mine",
        run / "figures/mine.png": "x",
    }
    gone = [run / "diagnosis.json", run / "evaluation.json", run / "figures" / "samples.png"]
    for file, text in [*kept.items(), *((file, "{}") for file in gone)]:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    train(Run.create(run, {"seed": 1}, PAIR, overwrite=True))
    assert {file: file.read_text() for file in kept} == kept
    assert not any(file.exists() for file in gone)  # these told of the run before
    assert load(run).config == {"seed": 1}


@pytest.mark.parametrize("name", ["checkpoints", "figures", "metrics.csv"])
def test_what_is_in_the_way_of_a_run_is_told_before_the_work(run, name):
    if (run / name).is_dir():
        shutil.rmtree(run / name)
    if name == "metrics.csv":
        (run / name).unlink()
        (run / name).mkdir()
    else:
        (run / name).write_text("in the way")
    with pytest.raises(RunError, match=f"{name} is a (file|folder), but|not a run's"):
        Run.create(run, {}, PAIR, overwrite=True)


@pytest.mark.parametrize("name", [".whole", ".placing", ".placing/checkpoints"])
def test_a_run_from_elsewhere_takes_no_files_of_another(run, tmp_path, name):
    victim = tmp_path / "victim"
    shutil.copytree(run, victim)
    before = contents(victim)
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(victim / Path(name).name if "/" in name else victim)
    with pytest.raises(RunError, match="is a symbolic link"):
        load(run)
    assert contents(victim) == before


@pytest.mark.parametrize("begun", [".whole", ".placing"])
@pytest.mark.parametrize("linked", ["checkpoints", "figures"])
def test_a_replacement_that_a_run_from_elsewhere_says_was_begun_follows_no_links(run, tmp_path, begun, linked):
    victim = tmp_path / "victim"
    shutil.copytree(run, victim)
    (victim / "figures").mkdir()
    (victim / "figures" / "samples.png").write_text("mine")
    before = contents(victim)
    shutil.rmtree(run / linked, ignore_errors=True)
    (run / linked).symlink_to(victim / linked)
    for name in ("checkpoints/last.safetensors", "figures/samples.png"):
        (run / begun / name).parent.mkdir(parents=True)
        (run / begun / name).write_text("theirs")
    for use in (Run.open, lambda path: Run(path).settle(), lambda path: Run.create(path, {}, PAIR, overwrite=True)):
        with pytest.raises(RunError, match="is a symbolic link"):
            use(run)
    assert contents(victim) == before


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_lock_from_elsewhere_opens_no_file_of_another(run, tmp_path, link):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    (run / ".run.lock").unlink(missing_ok=True)
    getattr(run / ".run.lock", link)(victim)
    with pytest.raises(RunError, match="is a link"):
        train(Run.create(run, {"seed": 1}, PAIR, overwrite=True))
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("mine", 0o600)


def test_the_files_of_killed_writes_are_swept_and_no_others(run):
    ours = ["config.yaml.abcdefgh.tmp", "checkpoints/last.safetensors.0a_bcdef.tmp", "figures/samples.png.aaaaaaaa.tmp"]
    others = ["thesis.tex.abcdefgh.tmp", "config.yaml.mine.tmp", "checkpoints/mine.safetensors.abcdefgh.tmp"]
    for name in (*ours, *others):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).touch()
    train(Run.create(run, {"seed": 1}, PAIR, overwrite=True))
    assert sorted(file.relative_to(run).as_posix() for file in run.rglob("*.tmp")) == sorted(others)


def test_the_best_weights_are_had_from_the_last_where_a_save_was_killed_between_the_two(tmp_path):
    train(Run.create(tmp_path / "whole", {"num_validation": 5}, PAIR), num_validation=5)
    run = Run.open(tmp_path / "whole")
    assert load(run.path).epoch == 2, "an example whose last epoch is the best"
    best = run.best.read_bytes()
    run.best.unlink()
    assert load(run.path, "best").epoch == 2
    train(run, resume=True, num_validation=5)
    assert run.best.read_bytes() == best


# places that cannot be written


@pytest.fixture
def read_only(monkeypatch):
    """Makes a folder one on a disk that cannot be written, for root too."""
    folders: list[Path] = []

    def refuse(path, descriptor=None):
        path = Path(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else Path()
        if any(path.is_relative_to(folder) for folder in folders):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def guarded(original):
        def call(path, *arguments, **options):
            refuse(path)
            return original(path, *arguments, **options)

        return call

    for name in ("mkdir", "replace", "rename", "link", "unlink"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    opened, built_in = os.open, builtins.open

    def os_open(path, flags, *arguments, **options):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return opened(path, flags, *arguments, **options)

    def python_open(path, mode="r", *arguments, **options):
        if set(mode) & set("wax+"):
            refuse(path)
        return built_in(path, mode, *arguments, **options)

    monkeypatch.setattr(os, "open", os_open)
    monkeypatch.setattr(builtins, "open", python_open)
    monkeypatch.setattr(io, "open", python_open)
    return folders.append


def test_a_run_on_a_disk_that_cannot_be_written_is_evaluated_and_told(run, script, read_only, tmp_path):
    read_only(run)
    before = contents(run)
    evaluation = ["evaluate.py", run, "--m", 2, "--repeats", 1, "--num_images", 9, "--device", "cpu"]
    code, out, err = script(*evaluation, "--result", tmp_path / "result.json")
    assert (code, err.count("\n")) == (0, 1)
    assert "Read-only file system" in err
    assert "negative IWAE, m = 2" in out
    assert json.loads((tmp_path / "result.json").read_text())["num_test_images"] == 9
    code, out, _ = script("diagnose.py", run, "--num_images", 20, "--num_weighted", 2, "--num_samples", 20)
    assert code == 0
    assert "negative IWAE" in out
    for name, *arguments in (
        ["evaluate.py", run, "--result", run / "result.json"],
        ["sample.py", run],
        ["report.py", run, "--out", run / "report"],
        ["train_vae.py", "--resume", "--epochs", "2", "--out", run],
        ["train_vae.py", *TINY, "--overwrite", "--out", run],
    ):
        code, out, err = script(name, *arguments)
        assert (code, out) == (1, ""), err
        assert "Read-only file system" in err
        assert err.count("\n") == 1 or name == "evaluate.py"
    assert contents(run) == before


def test_what_was_computed_is_printed_and_kept_where_it_can_be(run, script, monkeypatch, tmp_path):
    import inference.runs.run

    def full(path, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(inference.runs.run, "write_whole", full)  # after all was tried
    evaluation = ["evaluate.py", run, "--m", 2, "--repeats", 1, "--num_images", 9, "--device", "cpu"]
    code, out, err = script(*evaluation, "--result", tmp_path / "result.json")
    assert (code, err.count("\n")) == (1, 1)
    assert "No space left" in err
    assert "negative IWAE, m = 2" in out
    assert json.loads((tmp_path / "result.json").read_text())["num_test_images"] == 9


def test_trying_to_write_leaves_no_trace(tmp_path):
    (tmp_path / "there").write_text("old")
    for name in ("there", "new", "folder/new"):
        try_writing(tmp_path / name)
    assert contents(tmp_path) == {tmp_path / "there": b"old"}
    with pytest.raises(OSError, match="is a folder"):
        try_writing(tmp_path / "folder")


# output that nobody can read


def test_what_an_encoding_lacks_is_spelled():
    raw = io.BytesIO()
    stream = _streams.Lasting(io.TextIOWrapper(raw, "ascii"))
    print("1.0 ± 0.1", "é", os.fsdecode(b"\xff"), file=stream, flush=True)
    assert raw.getvalue() == b"1.0 +/- 0.1 \\xe9 \\udcff\n"


def test_a_reader_that_has_gone_ends_nothing_and_a_full_disk_is_told():
    receive, send = os.pipe()
    os.close(receive)
    with open(send, "w") as file:
        stream = _streams.Lasting(file)
        for _ in range(3):
            print("more" * 10_000, file=stream, flush=True)
        stream.check()
    with open("/dev/full", "w") as file:
        stream = _streams.Lasting(file)
        print("lost", file=stream)
        with pytest.raises(OSError, match="output was lost.*No space"):
            stream.check()


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "| head -c 1", ">/dev/full"])
def test_standard_streams_may_be_closed_or_ascii(run, closed):
    evaluation = f"{sys.executable} {SCRIPTS}/evaluate.py {run} --m 2 --repeats 1 --num_images 9 --device cpu"
    command = f"set -o pipefail; {evaluation} {closed}"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if "full" in closed else 0), done.stderr
    assert done.stderr == ("" if "full" not in closed else done.stderr)
    assert done.stderr.count("\n") == ("full" in closed)
    assert json.loads((run / "evaluation_first_9.json").read_text())["num_test_images"] == 9


def test_a_page_is_written_where_the_locale_is_ascii(tmp_path):
    command = [sys.executable, f"{SCRIPTS}/explore.py", str(ROOT / "pretrained" / "vae_digits"), "--out", "page.html"]
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env={**os.environ, **ascii_only}, cwd=tmp_path, capture_output=True, check=True)
    assert "\u2212" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_names_that_are_not_utf8_are_told_before_the_work(tmp_path, script, run):
    name = os.fsdecode(b"run\xff")
    for command in (["train_vae.py", *TINY, "--out", name], ["evaluate.py", run, "--result", f"{name}.json"]):
        code, out, err = script(*command)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "is not valid UTF-8" in err
    for use in (lambda: Run.create(tmp_path / name, {}, PAIR), lambda: Run.open(tmp_path / name)):
        with pytest.raises(RunError, match="is not valid UTF-8"):
            use()
    assert not (tmp_path / name).exists()
