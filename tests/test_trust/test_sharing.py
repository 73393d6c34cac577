"""What is shared of a run: nothing of this machine's folders, numbers of its weights alone, and whole or not at all."""

import json
import shlex
import shutil

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file

from inference import CheckpointError, Run, RunError, load
from inference.runs.checkpoint import Progress, save_checkpoint
from inference.runs.places import without_folders
from inference.runs.sharing import share
from pyro_models_cli.card import card

DIGITS = ROOT / "pretrained" / "vae_digits"


@pytest.fixture
def run(tmp_path):
    return Run.open(shutil.copytree(DIGITS, tmp_path / "run"))


def change(run: Run, name: str, **values: object) -> None:
    record = json.loads((run.path / name).read_text())
    (run.path / name).write_text(json.dumps({**record, **values}))


@pytest.mark.parametrize("home", ["/home/bob", "/Users/bob smith", "C:\\Users\\bob", "\\\\bob\\disk", "~bob", "../bob"])
def test_no_folder_of_this_machine_is_in_what_is_shared(run, home, tmp_path):
    file = f"{home}/faces.npy" if "/" in home or "~" in home else f"{home}\\faces.npy"
    run.write_config({**run.config, "dataset": file, "data_root": home, "out": file})
    change(run, "data.json", path=file, source=file, notes=[f"3 pictures could not be read ({home.split()[0]}/x.png)"])
    typed = f"python '{home}/x.py' --dataset='{file}' --config '{home}/c.yaml' \"--both=['{home}/a', '{home}/b']\""
    change(run, "environment.json", command=typed)
    change(run, "evaluation.json", command=f"{typed} && pyro-models evaluate '{file}'", dataset=file)
    shared = share(Run.open(run.path), tmp_path / "shared")
    (shared.path / "README.md").write_text(card(shared, "me/vae"))
    for written in shared.path.rglob("*"):
        assert not written.is_file() or b"bob" not in written.read_bytes(), written.name
    assert shared.config["dataset"] == shared.data["path"] == shared.evaluation()["dataset"] == "faces.npy"
    assert shared.environment["command"].startswith("python x.py --dataset=faces.npy --config c.yaml ")
    assert "&& pyro-models evaluate faces.npy" in shared.evaluation()["command"]


@pytest.mark.parametrize(
    "kept",
    [
        "pyro-models train-vae --out runs/vae '--encoder.hidden=[128]' --dataset mine:load && echo \"a b\"",
        *("pyro-models evaluate hf://me/vae", "runs/a and b/c, N/A", "it's 5~6", "", "digits"),
    ],
)
def test_what_is_no_place_on_this_machine_stays_as_it_was_typed(kept):
    record = {"command": kept, "other": [kept, 3, None, {"deep": kept}]}
    assert without_folders(record) == record


def test_a_command_recorded_without_quotes_is_cut_too():
    told = without_folders({"command": "python /home/bob/it's.py -x ~/y"})["command"]
    assert shlex.split(told) == ["python", "it's.py", "-x", "y"]


def test_a_run_that_is_training_is_shared_as_of_its_last_checkpoint(run, tmp_path):
    whole = [run.path / name for name in ("metrics.csv", "seconds.csv")]
    before = [file.read_bytes() for file in whole]
    for file, content in zip(whole, before, strict=True):  # as written just before the checkpoint of epoch 101
        last = content.splitlines(keepends=True)[-1]
        file.write_bytes(content + last.replace(b"100", b"101", 1))
    assert len(run.metrics()) == 101
    shared = share(run, tmp_path / "shared")
    assert [(shared.path / file.name).read_bytes() for file in whole] == before
    assert "the weights are those of epoch\n100." in card(shared, "me/vae")


def test_an_evaluation_of_earlier_weights_is_not_told_of_these(run, tmp_path):
    change(run, "evaluation.json", epochs=50)
    shared = share(run, tmp_path / "shared")
    assert shared.evaluation() is None
    assert "It was not evaluated." in card(shared, "me/vae")


def test_rounded_weights_take_half_the_bytes_and_tell_no_numbers_of_the_others(run, tmp_path):
    whole, half = share(run, tmp_path / "whole"), share(run, tmp_path / "half", half=True)
    sizes = [sum(value.nbytes for value in load_file(shared.last).values()) for shared in (whole, half)]
    assert sizes[0] == 2 * sizes[1]
    assert half.evaluation() is None
    again = share(half, tmp_path / "again")
    assert again.last.read_bytes() == half.last.read_bytes()
    pairs = [load(shared.path) for shared in (whole, half)]
    for ours, rounded in zip(*([*pair.model.parameters(), *pair.guide.parameters()] for pair in pairs), strict=True):
        assert rounded.dtype == torch.float32
        assert torch.equal(rounded, ours.half().float())


def test_weights_beyond_the_range_of_16_bits_are_not_rounded(run, tmp_path):
    pair = load(run.path)
    with torch.no_grad():
        next(pair.model.parameters())[0] = 1e5
    save_checkpoint(run.last, pair.model, pair.guide, progress=Progress({"epoch": 100}, {}))
    with pytest.raises(CheckpointError, match="too large for 16 bits, in model"):
        share(run, tmp_path / "half", half=True)
    assert share(run, tmp_path / "whole").last.is_file()


def test_a_run_is_shared_whole_or_not_at_all(run, tmp_path):
    place = tmp_path / "some" / "where"
    run.last.write_bytes(run.last.read_bytes()[:-1])
    with pytest.raises(CheckpointError):
        share(run, place)
    assert list(place.parent.iterdir()) == []
    shutil.copyfile(DIGITS / "checkpoints" / "last.safetensors", run.last)
    change(run, "evaluation.json", negative_elbo="x")
    with pytest.raises(RunError, match=r"run/evaluation\.json is damaged"):
        share(run, place)
    assert list(place.parent.iterdir()) == []
    (run.path / "evaluation.json").unlink()
    place.mkdir()
    assert share(run, place).last.is_file()
    before = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    with pytest.raises(RunError, match="already holds something"):
        share(run, place)
    assert {file: file.read_bytes() for file in place.rglob("*") if file.is_file()} == before
    assert [file.name for file in place.parent.iterdir()] == ["where"]
