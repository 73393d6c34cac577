"""Files from elsewhere: what is damaged or names foreign code is refused in one line, and nothing of it runs."""

import gzip
import hashlib
import json
import os
import pickle
import random
import resource
import shutil
import struct
import subprocess
import sys
import warnings

import pytest
import torch
import yaml
from conftest import ROOT, described_vae

from inference import (
    CheckpointError,
    DataError,
    Images,
    Run,
    RunError,
    Settings,
    build,
    fit,
    load,
    load_dataset,
    set_seed,
)
from inference.data.torchvision_ops import import_torchvision
from inference.system.files import write_whole

PAIR = described_vae([1, 2, 2], [3], "StandardNormal")
IMAGES = Images(
    "bits", (torch.arange(80).reshape(20, 1, 2, 2) * 7 % 11 < 5).byte(), torch.zeros(20).long(), 2, "static"
)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def train(folder, resume=False, epochs=3):
    set_seed(0)
    pair = build(PAIR)
    run = Run.open(folder) if resume else Run.create(folder, {"seed": 0}, PAIR)
    return fit(
        pair["model"], pair["guide"], IMAGES, IMAGES, Settings(epochs=epochs, device="cpu"), run=run, resume=resume
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(folder)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return Run.open(tmp_path / "run")


def weights(pair):
    return [*pair.model.state_dict().values(), *pair.guide.state_dict().values()]


def assert_refused(run, match=r"last\.safetensors"):
    before = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file() and file.stat().st_size < 10**7}
    with pytest.raises(CheckpointError, match=match) as caught:
        load(run.path)
    assert "\n" not in str(caught.value)
    assert before == {file: file.read_bytes() for file in before}


# checkpoints


@pytest.mark.parametrize("by", ["pickle", "torch"])
def test_a_pickle_is_not_unpickled(run, tmp_path, by):
    marker = tmp_path / "executed"
    if by == "pickle":
        run.last.write_bytes(pickle.dumps(Bomb(marker)))
    else:
        torch.save({"model": Bomb(marker)}, run.last)
    assert_refused(run)
    assert not marker.exists()


def test_every_truncation_is_refused(run):
    content = run.last.read_bytes()
    for length in [*range(0, 40), *range(40, len(content), 37), len(content) - 1]:
        run.last.write_bytes(content[:length])
        assert_refused(run)


def test_every_flipped_bit_is_refused(run):
    content, expected = run.last.read_bytes(), weights(load(run.path))
    header = 8 + struct.unpack("<Q", content[:8])[0]
    tried, chosen = 0, random.Random(0)
    for byte in [*range(8), *chosen.sample(range(8, header), 150), *chosen.sample(range(header, len(content)), 150)]:
        flipped = bytearray(content)
        flipped[byte] ^= 1 << chosen.randrange(8)
        run.last.write_bytes(flipped)
        try:
            pair = load(run.path)
        except CheckpointError:
            tried += 1
        else:  # blanks that pad the header may be others
            assert all(torch.equal(a, b) for a, b in zip(weights(pair), expected, strict=True))
    assert tried > 290


def declaring(shape, end) -> bytes:
    entry = {"model.decoder.network.0.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}
    header = json.dumps({"__metadata__": {"run": "{}"}, **entry}).encode()
    return struct.pack("<Q", len(header)) + header


def test_declared_gigabytes_are_not_read(run):
    count = 2_500_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run.last.write_bytes(declaring([count], 4 * count) + bytes(100))
    assert_refused(run)
    head = declaring([count], 4 * count)
    with run.last.open("wb") as file:  # as large as it says, without taking the space
        file.write(head)
        file.truncate(len(head) + 4 * count)
    assert_refused(run, "far larger")
    run.last.write_bytes(struct.pack("<Q", 2**62) + bytes(100))
    assert_refused(run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 * before


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing", "flipped"])
def test_a_resumed_run_takes_the_checkpoint_before_a_damaged_one(run, trained, damage):
    if damage == "missing":
        run.last.unlink()
    elif damage == "foreign":
        other = trained.parent / "other"
        if not other.exists():
            wide = json.loads(json.dumps(PAIR).replace('"hidden": [3]', '"hidden": [4]'))
            pair = build(wide)
            fit(
                pair["model"],
                pair["guide"],
                IMAGES,
                IMAGES,
                Settings(epochs=1, device="cpu"),
                run=Run.create(other, {}, wide),
            )
        shutil.copy(Run.open(other).last, run.last)
    else:
        content = bytearray(run.last.read_bytes())
        content[-3] ^= 4
        run.last.write_bytes(content if damage == "flipped" else content[:-3])
    with pytest.warns(UserWarning, match=r"(last\.safetensors.*|never finished): continuing from .* of epoch 2"):
        rows = train(run.path, resume=True)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for name in ("last", "best"):
        assert getattr(run, name).read_bytes() == getattr(Run.open(trained), name).read_bytes()


def test_two_damaged_checkpoints_stop_the_resumption(run):
    run.last.write_bytes(b"")
    run.previous.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"previous\.safetensors is damaged"):
        train(run.path, resume=True)


def test_a_resumed_run_without_any_checkpoint_starts_anew_or_says_what_is_lost(run, trained):
    run.last.unlink()
    run.previous.unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        train(run.path, resume=True)
    (run.path / "metrics.csv").unlink()
    train(run.path, resume=True)
    assert run.last.read_bytes() == Run.open(trained).last.read_bytes()


# configurations


@pytest.mark.parametrize(
    "path", ["os.system", "subprocess.run", "builtins.eval", "marks_its_import.Thing", "../../x.Y"]
)
def test_a_run_that_names_foreign_code_is_refused_before_it_is_imported(run, tmp_path, monkeypatch, path):
    (tmp_path / "marks_its_import.py").write_text("import os\nos.mkdir('imported')\nclass Thing: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    pair = json.loads(json.dumps(PAIR))
    pair["model"]["init_args"]["prior"] = {"class_path": path, "init_args": {"command": "mkdir imported"}}
    (run.path / "model.yaml").write_text(yaml.safe_dump(pair))
    with pytest.raises(ValueError, match="refused to import .*--allow_import|no part") as caught:
        load(run.path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "imported").exists()


def script(name, *arguments, cwd):
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


FOREIGN = {
    "a part": {"prior": {"class_path": "marks_its_import.Thing"}},
    "its name alone": {"prior": "marks_its_import.Thing"},
    "within a part": {
        "prior": {
            "class_path": "pyro_models.FlowPrior",
            "init_args": {"bound": {"class_path": "marks_its_import.Thing"}},
        }
    },
    "an objective": {"objective": {"class_path": "os.system", "init_args": {"command": "mkdir imported"}}},
    "within an untyped option": {
        "objective": {
            "class_path": "pyro.infer.RenyiELBO",
            "init_args": {"alpha": [{"class_path": "os.system", "init_args": {"command": "mkdir imported"}}]},
        }
    },
    "in JSON": {"prior": '{"class_path": "marks_its_import.Thing"}'},
    "in JSON, within": {
        "objective": '{"class_path": "pyro.infer.RenyiELBO", "init_args": {"alpha": {"class_path": "os.system"}}}'
    },
    "by a dotted key": {"prior.class_path": "marks_its_import.Thing"},
    "another file": {"prior": "another.yaml"},
    "another configuration": {"config": "another.yaml"},
    "allowed by itself": {"allow_import": ["marks_its_import"], "guide": {"class_path": "marks_its_import.Thing"}},
    "behind an impossible date": "out: 2024-13-45\nprior: marks_its_import.Thing\n",
    "by a tag": "prior: !!python/object/apply:os.mkdir [imported]\n",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_configuration_that_names_foreign_code_is_refused_before_it_is_imported(tmp_path, what):
    (tmp_path / "marks_its_import.py").write_text("import os\nos.mkdir('imported')\nclass Thing: pass\n")
    (tmp_path / "another.yaml").write_text("class_path: marks_its_import.Thing\nprior: marks_its_import.Thing\n")
    content = FOREIGN[what]
    text = content if isinstance(content, str) else yaml.safe_dump({"dataset": "digits", **content})
    (tmp_path / "config.yaml").write_text(text)
    done = script("train_vae.py", "--config", "config.yaml", "--out", "run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "config.yaml" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["another.yaml", "config.yaml", "marks_its_import.py"]


@pytest.mark.parametrize("option", ["overwrite", "resume"])
def test_a_configuration_does_not_ask_for_what_is_asked_on_the_command_line(run, tmp_path, option):
    (tmp_path / "config.yaml").write_text(f"{option}: true\nlr: 0.5\n")
    before = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    done = script("train_vae.py", "--dataset", "digits", "--config", "config.yaml", "--out", run.path, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"sets {option}" in done.stderr
    assert {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()} == before


def test_links_in_a_run_from_elsewhere_are_not_followed(run, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (run.path / "evaluation.json").symlink_to(victim)
    (run.path / "config.yaml.tmp").symlink_to(victim)
    write_whole(run.path / "evaluation.json", "theirs")
    run.write_config({"seed": 1})
    assert victim.read_text() == "mine"
    assert (run.path / "evaluation.json").read_text() == "theirs"
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(run.checkpoints)
    run.checkpoints.symlink_to(tmp_path / "elsewhere")
    for use in (lambda: load(run.path), lambda: Run.create(run.path, {}, PAIR, overwrite=True)):
        with pytest.raises(RunError, match="symbolic link"):
            use()
    assert not list((tmp_path / "elsewhere").iterdir())


OWN = [
    "config.yaml",
    "model.yaml",
    "environment.json",
    "metrics.csv",
    "evaluation.json",
    "checkpoints/last.safetensors",
]


@pytest.mark.parametrize("name", OWN)
def test_nothing_is_read_from_where_links_in_a_run_lead(run, tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("SECRET: [")
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(victim)
    with pytest.raises(RunError, match="is a symbolic link") as caught:
        load(run.path)
    assert "SECRET" not in str(caught.value)


def test_errors_hold_nothing_that_a_terminal_obeys(run, tmp_path):
    pair = json.loads(json.dumps(PAIR))
    pair["model"]["init_args"]["prior"]["init_args"]["\x1b[31mred"] = 1
    (run.path / "model.yaml").write_text(yaml.safe_dump(pair))
    done = script("sample.py", run.path, cwd=tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "\\x1b[31mred" in done.stderr


def test_tables_that_no_run_writes_are_not_read(run):
    with (run.path / "metrics.csv").open("w") as file:
        file.truncate(6 * 10**9)
    with pytest.raises(RunError, match="no table of a run is larger"):
        run.metrics()
    (run.path / "metrics.csv").write_text("epoch\n" + "1" * 200_000)
    with pytest.raises(RunError, match="damaged"):
        run.metrics()
    header = "epoch,train_negative_elbo,test_negative_elbo"
    for epochs in ([1, 3], [2, 1], [1, 1], [2]):
        (run.path / "metrics.csv").write_text("\n".join([header, *(f"{epoch},3.0,3.0" for epoch in epochs)]) + "\n")
        with pytest.raises(RunError, match="one row for each epoch"):
            run.metrics()


def test_a_few_lines_cannot_stand_for_gigabytes(run):
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join(9 * [f'*a{i - 1}'])}]" for i in range(1, 30))]
    for name in ("model.yaml", "config.yaml"):
        before = (run.path / name).read_text()
        (run.path / name).write_text("\n".join(lines))
        with pytest.raises(RunError, match="aliases"):
            load(run.path)
        (run.path / name).write_text("x: " + "y" * 2_000_000)
        with pytest.raises(RunError, match="larger than"):
            load(run.path)
        (run.path / name).write_text("[" * 3_000)
        with pytest.raises(RunError, match="cannot be read"):
            load(run.path)
        (run.path / name).write_text(before)


def test_nothing_is_downloaded_to_where_a_run_from_elsewhere_says(run, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").write_text("in the way of a download")
    config = {"dataset": "mnist", "data_root": str(tmp_path / "theirs"), "seed": 0, "binarisation": "static"}
    run.write_config(config)
    done = script("evaluate.py", run.path, "--data_root", tmp_path / "ours", cwd=tmp_path)
    assert done.returncode == 1
    environment = {**os.environ, "PYRO_MODELS_DATA": str(tmp_path / "ours")}
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), str(run.path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "theirs").iterdir())


# data


def test_a_download_follows_no_links_in_a_folder_from_elsewhere(tmp_path, monkeypatch):
    import_torchvision()
    import torchvision.datasets

    contents = {
        "images-idx3": struct.pack(">4I", 0x803, 1, 28, 28) + bytes(28 * 28),
        "labels-idx1": struct.pack(">2I", 0x801, 1) + bytes(1),
    }
    files = {f"{part}-{kind}-ubyte": text for part in ("train", "t10k") for kind, text in contents.items()}
    archives = {f"{name}.gz": gzip.compress(text) for name, text in files.items()}
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in archives.items()]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    raw = tmp_path / "theirs" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").symlink_to(victim)
    for name, content in archives.items():
        (raw / name).write_bytes(content)
    (raw / "t10k-labels-idx1-ubyte").hardlink_to(victim)
    with pytest.raises(DataError, match="checksum"):  # these are not the images
        load_dataset("mnist", tmp_path / "theirs")
    assert victim.read_text() == "mine"
    assert (raw / "train-images-idx3-ubyte").read_bytes() == contents["images-idx3"]
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == ["MNIST"]
    for name in ("linked", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "linked" / "MNIST").symlink_to(tmp_path / "other")
    with pytest.raises(DataError, match="is a symbolic link"):
        load_dataset("mnist", tmp_path / "linked")
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file()]


def test_pickles_of_old_torchvision_are_not_unpickled(tmp_path, monkeypatch):
    import_torchvision()
    import torchvision.datasets

    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        torch.save(Bomb(tmp_path / "executed"), processed / name)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataError, match="could not be downloaded"):
        load_dataset("mnist", tmp_path)
    assert not (tmp_path / "executed").exists()


MNIST_FILES = [f"{split}-{what}" for split in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]


@pytest.mark.parametrize("file", MNIST_FILES)
def test_damaged_mnist_is_refused(mnist_root, tmp_path, file):
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(mnist_root / "MNIST" / "raw", raw)
    content = (raw / file).read_bytes()
    places = [0, 3, 4, 7, 8, 11, 12, 15, 16, len(content) // 3, len(content) // 2, len(content) - 1]
    damaged = {f"byte {i} flipped": content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in places}
    damaged |= {f"cut at {i}": content[:i] for i in places}
    damaged |= {"longer": content + b"\0", "wrong magic": b"\0\0\x08\x02" + content[4:]}
    other = file.replace("t10k", "train") if "t10k" in file else file.replace("train", "t10k")
    damaged |= {"of the other split": (raw / other).read_bytes()}
    for changed in damaged.values():
        (raw / file).write_bytes(changed)
        with pytest.raises(DataError, match=file):
            load_dataset("mnist", tmp_path)


# writing


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    file, kept = tmp_path / "file", tmp_path / "previous"
    write_whole(file, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(file, "new", kept)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "old"
    write_whole(file, b"new", kept)
    assert (file.read_text(), kept.read_text()) == ("new", "old")
    kept.unlink()
    kept.hardlink_to(file)  # as a kill between the two leaves them
    write_whole(file, "newer", kept)
    assert (file.read_text(), kept.read_text()) == ("newer", "new")
    assert len(list(tmp_path.iterdir())) == 2


KEPT = ("last.safetensors", "previous.safetensors")
FULL_DISK = """
import pathlib, resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = sys.argv[2:]
sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def limited(size, *arguments, cwd):
    """A training run in a process that can write no file larger than ``size``, as on a full disk."""
    script_path = str(ROOT / "scripts" / "train_vae.py")
    command = [sys.executable, "-c", FULL_DISK, str(size), script_path, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_a_full_disk_is_told_in_one_line_and_the_last_checkpoint_stays(tmp_path):
    small = ["--dataset", "digits", "--latent_dim", 3, "--encoder.hidden", "[8]", "--decoder.hidden", "[8]"]
    assert script("train_vae.py", *small, "--epochs", 2, "--out", "run", cwd=tmp_path).returncode == 0
    before = {file: file.read_bytes() for file in map((tmp_path / "run" / "checkpoints").joinpath, KEPT)}
    done = limited(10_000, "--out", "run", "--resume", "--epochs", 4, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "train_vae.py: error: [Errno 27] File too large\n"
    assert {file: file.read_bytes() for file in before} == before
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert script("train_vae.py", "--out", "run", "--resume", "--epochs", 4, cwd=tmp_path).returncode == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(tmp_path / "run").epoch == 4


def test_want_of_room_is_known_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(RunError, match=r"0\.0 MB left"):
        train(tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_folder_that_cannot_be_written_is_known_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = script("train_vae.py", "--dataset", "digits", "--out", "file/run", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    done = script("train_vae.py", "--dataset", "digits", "--out", "/proc/run", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
