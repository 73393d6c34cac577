"""Tables whose rows are trained with several seeds."""

import json
import shlex
import shutil
import sys

import numpy as np
import pytest
from conftest import ROOT

import pyro_models_cli.commands.train_vae as train_vae
from inference import Run
from pyro_models_cli.commands.zoo import ZooOptions, zoo
from pyro_models_cli.options import CONFIGS, packaged
from pyro_models_cli.row_table import print_rows
from pyro_models_cli.rows import parse_row, read_rows
from pyro_models_cli.seeds import OverSeeds, active_of, bound_of, bound_text, by_name, mean_of
from pyro_models_cli.start import pyro_models

sys.path.append(str(ROOT / "tools"))

from result_tables.vaes import commands_of_zoo, headline_of_best, tried_table, zoo_table

SMALL = "--dataset digits --epochs 1 --device cpu --latent_dim 2 --encoder.hidden [4] --decoder.hidden [4]"


def entry(name: str, seed: int, elbo: float, nll: float | None = None, options: str = "", **more) -> dict:
    """An entry as a table has it, with numbers of our own."""
    bounds = {"negative_elbo": elbo} | ({} if nll is None else {"nll_5000": nll})
    return {
        "name": name,
        "seed": seed,
        **{key: {"value": value, "standard_error_over_images": 0.24} for key, value in bounds.items()},
        **{"dataset": "mnist", "binarisation": "dynamic", "num_test_images": 10_000, "epochs": 60, "minutes": 5.0},
        **{"active_units": {"z": 19 + seed}, "latent_dims": {"z": 40}, "pareto_k": 0.5 + seed / 10, "kl": 25.0 + seed},
        **{"machine": "a machine", "prior": "StandardNormal", "guide": "MeanFieldGuide", "objective": "Trace_ELBO"},
        "command": f"pyro-models train-vae --epochs=60 {options} --seed={seed} --out=runs/{name} && evaluate",
        **more,
    }


TABLE = [
    entry("plain", 0, 92.0, 88.0),
    entry("flow", 0, 90.0, 87.0, "--prior FlowPrior --prior.bound 1.0"),
    entry("plain", 2, 93.0, 88.6),
    entry("plain", 1, 92.6),
]


def test_the_mean_over_seeds_and_its_spread():
    values = [92.0, 92.6, 93.4]
    over = OverSeeds.of([{"value": value, "standard_error_over_images": 0.2} for value in values])
    assert (over.value, over.spread) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert (over.seeds, over.over_images) == (3, None)
    assert (f"{over:.2f}", f"{over:.1f}") == ("92.67 ± 0.70", "92.7 ± 0.7")
    assert f"{OverSeeds.of([{'value': 92.0, 'standard_error_over_images': 0.2}]):.2f}" == "92.00 (0.20)"
    assert f"{OverSeeds.of([{'value': 92.0, 'standard_error_over_images': None}]):.2f}" == "92.00"


def test_entries_of_one_name_are_one_row():
    rows = by_name(TABLE)
    assert {name: [run["seed"] for run in runs] for name, runs in rows.items()} == {"plain": [0, 2, 1], "flow": [0]}
    assert list(rows) == ["plain", "flow"]
    with pytest.raises(ValueError, match="two entries of row 'plain' have the same seed"):
        by_name([*TABLE, entry("plain", 2, 91.0)])
    for other in ({"num_test_images": 1000}, {"dataset": "digits"}, {"binarisation": "static"}):
        with pytest.raises(ValueError, match="'plain' are not of the same test images"):
            by_name([*TABLE, entry("plain", 3, 91.0, **other)])


def test_numbers_over_the_seeds_of_a_row():
    plain = by_name(TABLE)["plain"]
    assert bound_of(plain, "nll_5000") == OverSeeds(pytest.approx(88.3), pytest.approx(0.3 * 2**0.5), None, 2)
    assert bound_of(plain, "nll_500") is None
    assert bound_text(plain, "nll_500", ".2f") == "-"
    assert bound_text(plain, "negative_elbo", ".2f") == "92.53 ± 0.50"
    assert bound_text(plain, "nll_5000", ".2f") == "88.30 ± 0.42, 2 seeds"  # the third has none
    assert bound_text([plain[0], plain[2]], "nll_5000", ".2f") == "88.00 (0.24)"
    assert (mean_of(plain, "pareto_k"), mean_of([*plain, {"pareto_k": None}], "pareto_k")) == (pytest.approx(0.6), None)
    assert (active_of(plain), active_of(plain[:1])) == ("19-21/40", "19/40")


def test_a_table_is_printed_row_by_row(capsys):
    print_rows([*TABLE, entry("equal", 0, 90.0, pareto_k=None)], 5000, "minutes")
    header, plain, flow, equal = capsys.readouterr().out.splitlines()
    assert header.split() == ["row", "seeds", "minutes", "k", "KL", "-ELBO", "NLL", "5000", "active"]
    numbers = ["plain", "3", "5.0", "0.600", "26.000", "92.533", "±", "0.503", "88.300", "±", "0.424,", "2", "seeds"]
    assert plain.split() == [*numbers, "19-21/40"]
    assert flow.split()[1:] == ["1", "5.0", "0.500", "25.000", "90.000", "(0.240)", "87.000", "(0.240)", "19/40"]
    assert equal.split()[3:] == ["-", "25.000", "90.000", "(0.240)", "-", "19/40"]


def test_the_pages_show_means_over_seeds_and_what_rows_change():
    plain, flow = zoo_table(TABLE).splitlines()[-2:]
    assert plain == "| plain |  | 3 | 5 | 19-21/40 | 0.60 | 92.53 ± 0.50 | 88.30 ± 0.42, 2 seeds |"
    changes = "`prior FlowPrior`, `prior.bound 1.0`"
    assert flow == f"| flow | {changes} | 1 | 5 | 19/40 | 0.50 | 90.00 (0.24) | 87.00 (0.24) |"
    assert headline_of_best(TABLE) == (TABLE[1], "87.00 ± 0.24 nats")
    better = [entry("plain", 3, 93.0, 85.0), entry("plain", 4, 93.0, 83.0)]
    assert headline_of_best([*TABLE, *better]) == (TABLE[0], "86.15 ± 2.62 nats, over 4 seeds")
    text = tried_table([entry("wide", 0, 91.0, options="--latent_dim 80 --epochs 150", machine="another")], TABLE)
    assert text.startswith("## What was tried\n")
    assert "(another)" in text
    row = "| wide | `latent_dim 80`, `epochs default` | 1 | 5 | 19/40 | 0.50 | 91.00 (0.24) | - |"
    assert text.splitlines()[-1] == row


def test_the_pages_show_the_commands_that_make_a_table():
    one, three = [entry("a", 0, 1.0, 1.0)], [entry("b", seed, 1.0, 1.0) for seed in range(3)]
    elbo = [entry("c", seed, 1.0, None if seed else 1.0) for seed in range(3)]
    rows = dict.fromkeys("abcd", "--encoder.hidden [400,400] --decoder.hidden [400,400]")
    assert commands_of_zoo("zoo", one, {"a": rows["a"]}) == ["zoo"]
    assert commands_of_zoo("zoo", one, {"a": rows["a"], "other": ""}) == ["zoo --rows a"]
    assert commands_of_zoo("zoo", three, {"b": rows["b"]}) == ["zoo --seeds 3"]
    fewer = [{**one[0], "nll_1000": one[0]["nll_5000"]}]
    del fewer[0]["nll_5000"]
    assert commands_of_zoo("zoo", fewer, {"a": rows["a"]}) == ["zoo --num_samples 1000"]
    text = tried_table(fewer, TABLE)
    assert "NLL by 1000 importance samples" in text
    assert text.endswith("| 1.00 (0.24) | 1.00 (0.24) |")
    table = [*one, *three, *elbo, *[entry("d", 0, 1.0, 1.0)]]
    assert commands_of_zoo("zoo", table, rows) == [
        "zoo --rows a d",
        "zoo --seeds 3 --rows b",
        "zoo --seeds 3 --nll_seeds 1 --rows c",
    ]
    made_d = [*table[-1]["command"].split(" && ")]
    for other in ({**rows, "d": rows["d"] + " --latent_dim 3"}, {name: rows[name] for name in "abc"}):
        assert commands_of_zoo("zoo", table, other)[-3:] == ["zoo --seeds 3 --nll_seeds 1 --rows c", *made_d]


def test_a_table_grows_seed_by_seed(tmp_path, capsys):
    (tmp_path / "rows.yaml").write_text("plain: ''\nwide: --decoder.hidden [8]\n")
    place, result = tmp_path / "out", tmp_path / "table.json"
    asked = {"list": str(tmp_path / "rows.yaml"), "common": SMALL, "out": str(place), "result": str(result)}
    asked["num_samples"] = 20

    def made(**more) -> list[tuple[str, int, bool]]:
        entries = zoo(ZooOptions(**{**asked, **more}))
        assert json.loads(result.read_text()) == entries
        return [(row["name"], row["seed"], "nll_20" in row) for row in entries]

    assert made(rows=["plain"], seeds=2, nll_seeds=1) == [("plain", 0, True), ("plain", 1, False)]
    assert {path.name for path in place.iterdir()} == {"plain", "plain_seed1"}
    first, second = json.loads(result.read_text())
    assert first["negative_elbo"]["value"] != second["negative_elbo"]["value"]
    for row in (first, second):  # each has a command of its own
        words = shlex.split(row["command"].partition(" && ")[0])
        config = Run.open(place / ("plain" if row["seed"] == 0 else "plain_seed1")).config
        assert train_vae.parse(words[2:]).config == config
        assert config["seed"] == row["seed"]

    shutil.rmtree(place / "plain")
    capsys.readouterr()
    assert made(seeds=2, nll_seeds=1) == [
        ("plain", 0, True),
        ("plain", 1, False),
        ("wide", 0, True),
        ("wide", 1, False),
    ]
    printed = capsys.readouterr().out
    assert f"plain: already in {result}\nplain_seed1: already in {result}\n" in printed
    assert not (place / "plain").exists()  # what the table has is not made again
    before = (place / "plain_seed1" / "metrics.csv").read_text()
    kept = [("plain", 0, True), ("plain", 1, True), ("wide", 0, True), ("wide", 1, False)]
    assert made(rows=["plain"], seeds=2) == kept  # the log-likelihood follows, of the same weights
    assert (place / "plain_seed1" / "metrics.csv").read_text() == before
    assert made() == kept
    result.unlink()
    capsys.readouterr()
    assert made(rows=["wide"], seeds=2, nll_seeds=1) == kept[2:]
    assert "wide: already made\nwide_seed1: already made\n" in capsys.readouterr().out


def test_entries_made_with_other_options_leave_the_table(tmp_path, capsys):
    (tmp_path / "rows.yaml").write_text("plain: --seed 5\n")
    asked = {"list": str(tmp_path / "rows.yaml"), "result": str(tmp_path / "table.json"), "num_samples": 20}
    first = zoo(ZooOptions(**asked, common=SMALL, seeds=2, nll_seeds=0, out=str(tmp_path / "before")))
    assert [row["seed"] for row in first] == [5, 6]  # from the row's own on
    assert {path.name for path in (tmp_path / "before").iterdir()} == {"plain", "plain_seed6"}
    again = zoo(ZooOptions(**asked, common=f"{SMALL} --lr 0.01", nll_seeds=0, out=str(tmp_path / "after")))
    assert [(row["seed"], "--lr=0.01" in row["command"]) for row in again] == [(5, True)]
    assert "plain: the entry of seed 6 had other options or data and leaves the table" in capsys.readouterr().out
    made = Run.open(tmp_path / "after" / "plain").config
    (entry,) = json.loads((tmp_path / "table.json").read_text())
    assert entry["config"] == {name: value for name, value in made.items() if name not in ("out", "data_root")}
    entry["config"]["batch_size"] = 100  # as if this had been the default, which the command leaves out
    (tmp_path / "table.json").write_text(json.dumps([entry]))
    more = {**asked, "common": f"{SMALL} --lr 0.01", "nll_seeds": 0}
    later = zoo(ZooOptions(**more, out=str(tmp_path / "later")))
    assert [row["config"] for row in later] == [row["config"] for row in again]
    assert (tmp_path / "later" / "plain").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "0"], "seeds must be at least 1; got 0"),
        (["--seeds", "-2"], "seeds must be at least 1; got -2"),
        (["--seeds", "two"], "--seeds: Expected a whole number"),
        (["--seeds", "2.5"], "--seeds: Expected a whole number"),
        (["--seeds", "2", "--nll_seeds", "3"], "nll_seeds must be from 0 to the number of seeds, 2; got 3"),
        (["--nll_seeds", "-1"], "nll_seeds must be from 0 to the number of seeds, 1; got -1"),
    ],
)
def test_wrong_numbers_of_seeds_get_one_line(words, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pyro-models", "zoo", "--rows", "none", *words])
    with pytest.raises(SystemExit) as stop:
        pyro_models()
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert says in captured.err
    assert not list(tmp_path.iterdir())


def test_every_row_of_the_packaged_lists_can_be_typed_and_is_there_once(tmp_path):
    lists = [read_rows(packaged(name)) for name in ("zoo", "tried")]
    assert packaged("tried") == CONFIGS / "tried.yaml"
    assert not lists[0].keys() & lists[1].keys()
    rows = {**lists[0], **lists[1]}
    configs = [parse_row(name, f"{ZooOptions.common} {row}", tmp_path).config for name, row in rows.items()]
    assert all(configs.count(config) == 1 for config in configs)
