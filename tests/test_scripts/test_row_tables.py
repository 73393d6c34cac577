"""What a table of rows takes for made, and what becomes of it when others write it too."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pyro_models_cli.row_table as row_table
import pyro_models_cli.rows as rows
from inference import Run, RunError
from inference.system.interrupts import Interrupted
from pyro_models_cli.commands.collapse_study import CollapseStudyOptions
from pyro_models_cli.commands.diagnose import DiagnoseOptions, diagnose_run
from pyro_models_cli.commands.evaluate import EvaluateOptions, evaluate
from pyro_models_cli.commands.train_vae import train_vae
from pyro_models_cli.commands.zoo import ZooOptions, zoo

SMALL = "--dataset digits --device cpu --latent_dim 2 --encoder.hidden [4] --decoder.hidden [4] --lr 0.01"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes the table of a list with rows a and b in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.yaml").write_text("a: ''\nb: --latent_dim 3\n")
    asked = {"list": "list.yaml", "out": "out", "num_samples": 20, "nll_seeds": 0, "rows": ["a"]}
    return lambda epochs=2, **more: zoo(ZooOptions(**{**asked, "common": f"{SMALL} --epochs {epochs}", **more}))


def trained(epochs: int) -> None:
    """Train row a on, by itself."""
    train_vae(replace(rows.parse_row("a", f"{SMALL} --epochs {epochs}", Path("out/a")), resume=True))


def test_a_run_that_was_trained_on_is_measured_again(made):
    made()
    trained(3)
    (row,) = made(3)
    last = Run.open("out/a").metrics()[-1]
    assert (row["epochs"], row["config"]["epochs"], row["kl"]) == (3, 3, last["test_kl"])


def test_a_run_that_is_not_finished_is_trained_to_its_end(made):
    made()
    with pytest.raises(RuntimeError, match="holds a run with other options"):
        made(4)  # a table says what it holds: a longer run is another
    trained(4)
    config = Path("out/a/config.yaml")
    config.write_text(config.read_text().replace("epochs: 4", "epochs: 6"))  # as an interrupted run of 6 has it
    evaluate("out/a", EvaluateOptions(m=[20], repeats=1))
    diagnose_run("out/a", DiagnoseOptions(num_samples=20))
    (row,) = made(6)
    assert (row["epochs"], len(Run.open("out/a").metrics())) == (6, 6)


@pytest.mark.parametrize("measured", ["evaluation of other weights", "diagnosis of few"])
def test_measurements_made_otherwise_are_made_again(made, measured):
    (first,) = made(3)
    if measured == "evaluation of other weights":
        evaluate("out/a", EvaluateOptions(m=[20], repeats=1, checkpoint="previous"))
    else:
        diagnose_run("out/a", DiagnoseOptions(num_samples=20, num_weighted=2, num_images=5))
    (again,) = made(3)
    for name in ("epochs", "negative_elbo", "active_units", "pareto_k"):
        assert again[name] == first[name]


def test_rows_of_other_data_are_not_taken_for_these(made):
    for seed in (0, 1):
        np.save("mine.npy", np.random.default_rng(seed).normal(size=(80, 3)).astype("float32"))
        own = {"common": "--dataset ./mine.npy --latent_dim 2 --encoder.hidden [4] --decoder.hidden [4] --epochs 1"}
        if seed == 0:
            before = made(**own, result="table.json")
            assert made(**own, result="table.json") == before
        else:
            with pytest.raises(RuntimeError, match="out/a holds a run with other data"):
                made(**own, result="table.json")
            assert json.loads(Path("table.json").read_text()) == before
            after = made(**own, seeds=2, out="new", result="table.json")
    assert [row["sha256"] == before[0]["sha256"] for row in after] == [False, False]


def test_rows_that_another_process_wrote_meanwhile_stay(made, monkeypatch):
    made(result="table.json")
    real = rows.make_row

    def slow(options, *arguments):
        real(options, *arguments)
        monkeypatch.undo()
        monkeypatch.chdir(place)
        made(seeds=3, result="table.json")

    place = Path.cwd()
    monkeypatch.setattr("pyro_models_cli.commands.zoo.make_row", slow)
    made(rows=["b"], result="table.json")
    table = json.loads(Path("table.json").read_text())
    assert [(row["name"], row["seed"]) for row in table] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]


def test_a_newer_entry_of_another_process_stays_where_an_old_one_was_to_leave(made, monkeypatch):
    made(seeds=2, result="table.json")
    real = rows.make_row

    def slow(options, *arguments):
        real(options, *arguments)
        monkeypatch.undo()
        monkeypatch.chdir(place)
        made(3, seeds=2, out="others", result="table.json")

    place = Path.cwd()
    monkeypatch.setattr("pyro_models_cli.commands.zoo.make_row", slow)
    made(3, out="new", result="table.json")
    table = json.loads(Path("table.json").read_text())
    assert [(row["seed"], row["epochs"]) for row in table] == [(0, 3), (1, 3)]


def test_rows_are_written_as_they_are_made(made, monkeypatch):
    real = rows.make_row

    def only_a(options, *arguments):
        if "out/b" in options.out:
            raise RuntimeError("no power")
        real(options, *arguments)

    monkeypatch.setattr("pyro_models_cli.commands.zoo.make_row", only_a)
    with pytest.raises(RuntimeError, match="no power"):
        made(rows=None, result="table.json")
    assert [row["name"] for row in json.loads(Path("table.json").read_text())] == ["a"]


def test_a_run_of_another_row_is_told_before_anything_is_trained(made):
    made(1, rows=["b"])
    with pytest.raises(RuntimeError, match="out/b holds a run with other options .*: remove it"):
        made(2, rows=None)
    assert not Path("out/a").exists()


def test_a_table_that_cannot_be_locked_is_told_before_anything_is_trained(made, monkeypatch):
    Path("other").touch()
    for be_in_the_way, what in ((Path.mkdir, "remove"), (lambda lock: lock.symlink_to("other"), "remove")):
        lock = Path(".table.json.lock")
        be_in_the_way(lock)
        with pytest.raises(ValueError, match=rf"\.table\.json\.lock must be a plain file.*{what} it"):
            made(result="table.json")
        lock.rmdir() if lock.is_dir() else lock.unlink()
    for error in (NotImplementedError("no flock"), OSError("No locks available")):
        monkeypatch.setattr(row_table.FileLock, "acquire", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(ValueError, match=f"table.json cannot be locked for writing .{error}.*another disk"):
            made(result="table.json")
    assert not Path("out").exists()


def test_a_table_behind_a_link_is_written_there(made):
    Path("place").mkdir()
    Path("table.json").symlink_to("place/real.json")
    made(1, result="table.json")
    assert Path("table.json").is_symlink()
    assert len(json.loads(Path("place/real.json").read_text())) == 1


def test_rows_that_cannot_be_measured_are_not_trained(made):
    np.save("mine.npy", np.random.default_rng(0).normal(size=(80, 3)).astype("float32"))
    own = "--dataset ./mine.npy --test_fraction 0 --latent_dim 2 --encoder.hidden [4] --decoder.hidden [4] --epochs 1"
    with pytest.raises(ValueError, match="row 'a' cannot be trained: these data come without a test set"):
        made(common=own)
    assert not Path("out").exists()


def test_a_run_with_a_damaged_file_is_told(made):
    made(1)
    config, metrics = Path("out/a/config.yaml"), Path("out/a/metrics.csv")
    whole = config.read_text()
    config.write_text(whole.replace("class_path: pyro_models.VAE", "class_path: 3"))
    assert config.read_text() != whole
    with pytest.raises(RuntimeError, match="config.yaml is damaged"):
        made(1)
    config.write_text(whole)
    metrics.write_text(metrics.read_text().splitlines()[0] + "\n")
    with pytest.raises(RunError, match="metrics.csv lacks epoch 1"):
        made(1)


def test_an_interrupted_row_says_how_to_go_on(made, monkeypatch):
    def stopped(*_):
        raise Interrupted("interrupted in epoch 2; --resume continues it", 2)

    monkeypatch.setattr("pyro_models_cli.rows.train_vae", stopped)
    with pytest.raises(Interrupted, match="interrupted in row 'a'; the same command continues it"):
        made()


ENTRY = {
    **{"name": "a", "seed": 0, "command": "pyro-models train-vae", "negative_elbo": {"value": 1.0}},
    **{"dataset": "digits", "binarisation": "dynamic", "num_test_images": 359},
    **{"minutes": 1.0, "kl": 2.0, "pareto_k": None, "active_units": {"z": 1}, "latent_dims": {"z": 2}},
}


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[" * 200_000,
        "[3]",
        *(json.dumps([{key: ENTRY[key] for key in ENTRY if key != left_out}]) for left_out in ENTRY),
        *(
            json.dumps([{**ENTRY, **change}])
            for change in (
                {"minutes": "text"},
                {"negative_elbo": {"value": "text"}},
                {"negative_elbo": 3},
                {"active_units": {}, "latent_dims": {"z": 2}},
                {"active_units": {"z": "all"}, "latent_dims": {"z": 2}},
                {"nll_20": None},
                {"name": ["a"]},
                {"seed": True},
                {"seed": -1},
                {"num_test_images": [3]},
                {"kl": 10**400},
                {"dataset": None},
            )
        ),
        json.dumps([ENTRY, ENTRY]),
        json.dumps([ENTRY, {**ENTRY, "seed": 1, "num_test_images": 20}]),
    ],
)
def test_what_is_no_table_is_told_before_anything_is_trained(made, content):
    Path("table.json").write_text(content)
    says = "exists and is not a table of rows|has two rows of one name|is not one table: .* not of the same test images"
    with pytest.raises(ValueError, match=f"table.json ({says})"):
        made(result="table.json")
    assert Path("table.json").read_text() == content
    assert not Path("out").exists()
    with pytest.raises(ValueError, match=r"table.json"):
        row_table.write_rows([], Path("table.json"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--model.skip true", "the chosen model has no such option, which is of TwoLevelVAE; --model.help"),
        ("--model.skip=true", "the chosen model has no such option, which is of TwoLevelVAE; --model.help"),
        ("--prior.speed 3", "the chosen prior has no such option; --prior.help"),
        ("--top_dim 7", "top_dim is of a model with two codes, such as TwoLevelVAE"),
        (
            "--guide TopDownGuide",
            r"\(TwoLevelVAE\) needs a guide for two .*, and the other way round",
        ),
    ],
)
def test_a_wrong_row_is_told_what_would_be_right(made, words, says):
    with pytest.raises(ValueError, match=says):
        made(common=f"{SMALL} --epochs 1 {words}")


def test_two_rows_in_one_folder_are_told(made):
    Path("list.yaml").write_text("a: ''\na_seed1: --latent_dim 3\n")
    with pytest.raises(ValueError, match="two rows would have the folder out/a_seed1"):
        made(rows=None, seeds=2)
    assert not Path("out").exists()


def test_a_list_that_is_not_there_is_told_from_those_that_are(made):
    with pytest.raises(ValueError, match="there is no list nope: .* packaged, zoo and tried"):
        made(list="nope")


@pytest.mark.parametrize("options", [ZooOptions, CollapseStudyOptions])
def test_too_few_samples_for_a_diagnosis_are_refused_before_any_work(options):
    with pytest.raises(ValueError, match="num_samples must be at least 20; got 5"):
        options(num_samples=5)
