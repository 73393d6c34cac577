"""Helpers of the benchmarks, and the tables made of what they measure."""

import sys

import pytest
import torch
from conftest import ROOT

from pyro_models import image_realnvp
from pyro_models.transforms import ActNorm, AffineCoupling, MaskedCoupling

sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tools")]

from apart import apart, checked_out
from commands import extrapolated
from dragging import record_of
from growth import slopes
from growth_figure import growth_figure
from growth_work import vae, weights
from image_peers import PlainImageFlow
from processor import describe_processor
from products import by
from result_tables.speed import bench_table, dragging_line, growth_table, scaling_table
from result_tables.words import machine_of
from run import joined
from scaling import predicted
from timing import Group, Times, side_by_side

from inference.figures.style import as_bytes
from inference.system.environment import describe_environment, threads_in_words


def test_a_ratio_is_of_medians_and_its_spread_of_repeats():
    group = Group("work", {"ours": Times([1.0, 2.0, 9.0]), "other": Times([4.0, 4.0, 6.0])}, steps=10)
    (row,) = group.compare("ours", "other", goal=0.4).compare("ours", "absent").rows
    assert row["ratio"] == 0.5
    assert row["ratio_quartiles"] == [0.25, 1.5]  # of 0.25, 0.5 and 1.5
    assert (row["ours_seconds"], row["other_seconds"], row["goal"]) == (0.2, 0.4, 0.4)
    assert group.record()["programs"]["ours"] == {"milliseconds": 200.0, "quartiles": [100.0, 900.0]}


def test_quartiles_and_uncertainty():
    times = Times([4.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0])
    assert (times.median, times.quartiles) == (4.0, (2.0, 6.0))
    assert times.uncertainty == pytest.approx(1 / 7**0.5)


def test_repeats_end_when_medians_are_known_or_time_is_over():
    calls = []

    def program(name, seconds):
        return lambda: calls.append(name) or seconds

    steady = {"a": program("a", 1.0), "b": program("b", 2.0)}
    assert [len(times.seconds) for times in side_by_side(steady, seconds=60, warm_up=2).values()] == [7, 7]
    assert calls[:8] == ["a", "b", "b", "a", "a", "b", "b", "a"]  # the order rotates
    assert len(calls) == 2 * (7 + 2)
    varied = iter([1.0, 2.0, 3.0, 4.0, 5.0])
    found = side_by_side({"c": lambda: next(varied)}, seconds=0, warm_up=1)
    assert found["c"].seconds == [2.0, 3.0, 4.0]  # the least number, without the warm-up


def test_slopes_of_powers():
    work = [1.0, 10.0, 100.0]
    assert slopes(work, [3 * w**0.8 for w in work]) == pytest.approx((0.8, 0.8))
    assert slopes(work, [1.0, 10.0, 1000.0]) == pytest.approx((1.5, 2.0))


def test_extrapolation_follows_the_line():
    short, long = Times([5.0, 6.0]), Times([9.0, 14.0])
    assert extrapolated(short, long, (2, 10), 20).seconds == pytest.approx([14.0, 24.0])


def test_all_reduce_slows_many_processes():
    alone = predicted(0.01, 1_000_000, 1, bandwidth=1e9, latency=1e-5)
    two = predicted(0.01, 1_000_000, 2, bandwidth=1e9, latency=1e-5)
    assert (alone["all_reduce_ms"], alone["speed_up"]) == (0.0, 1.0)
    assert two["all_reduce_ms"] == pytest.approx(2 * (2 + 0.01))
    assert two["speed_up"] == pytest.approx(2 * 10 / (10 + 4.02), abs=0.01)


def test_the_processor_is_named(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast 9000\nflags\t\t: fpu avx2 amx_tile\n\n")
    found = describe_processor(cpuinfo)
    assert (found["name"], found["instructions"]) == ("Fast 9000", ["avx2", "amx_tile"])
    assert describe_processor(tmp_path / "absent")["name"]


def test_a_program_has_its_products_by_the_library_of_choice():
    found: list[str] = []
    by("onednn", lambda: found.append(torch.get_float32_matmul_precision()))()
    assert (found, torch.get_float32_matmul_precision()) == (["medium"], "highest")


def test_a_program_apart_answers_every_call():
    with apart("import time\nprogram = lambda: time.sleep(0.01)") as program:
        assert all(program() >= 0.01 for _ in range(3))


def test_an_earlier_commit_is_laid_out_in_a_folder_or_skipped(capsys):
    with checked_out("HEAD") as folder:
        assert folder is None or (folder / "benchmarks" / "apart.py").exists()
    with checked_out("no-such-commit") as folder:
        assert folder is None
    assert "no-such-commit" in capsys.readouterr().out


def test_the_image_flow_in_plain_pytorch_is_the_same_density(float64):
    shape = (1, 8, 8)
    plain, flow = PlainImageFlow(shape, 4, 1), image_realnvp(shape, 4, 1)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.1)
    to_base = [t for t in flow.transforms[::-1] if isinstance(t, AffineCoupling | MaskedCoupling | ActNorm)]
    layers = [*plain.outer, *plain.squeezed, *plain.inner]
    for layer, ours in zip(layers, to_base, strict=True):
        if isinstance(ours, ActNorm):
            ours.initialised.fill_(True)
            layer.load_state_dict(dict(ours.named_parameters()))
        else:
            layer.network.load_state_dict(ours.conditioner.state_dict())
    x = torch.randint(256, (3, *shape)).double()
    torch.manual_seed(1)
    found = plain(x)
    torch.manual_seed(1)
    y = (x + torch.rand_like(x)) / 256
    torch.testing.assert_close(found, flow().log_prob(y) - 64 * torch.tensor(256.0).log())


def test_the_work_of_a_step_is_its_number_of_weights():
    assert weights(5) == sum(p.numel() for half in vae(hidden=(5, 5)) for p in half.parameters())


GROWTH = {
    "machine": "a machine",
    "command": "python benchmarks/growth.py",
    "curves": [
        {
            "what": "epoch",
            "size": "images",
            "slope": 0.987,
            "steepest": 1.04,
            "points": [
                {"size": 1_000, "work": 1_000, "seconds": 0.0512, "peak_mb": 300.0, "held_mb": 0.1},
                {"size": 1_000_000, "work": 1_000_000, "seconds": 50.0, "peak_mb": 364.2, "held_mb": 64.0},
            ],
        }
    ],
}


def test_tables_show_what_was_measured():
    group = Group("work", {"ours": Times([0.001] * 3), "other": Times([0.004] * 3)})
    record = {"machine": "a machine", "rows": group.compare("ours", "other", goal=0.5).rows}
    assert "| work | ours | other | 1.0 | 4.0 | **0.25** (0.25 to 0.25) | 0.50 |" in bench_table(record)
    assert "| epoch | 1,000 to 1,000,000 images | 51.2 to 50,000.0 | **0.99** | 1.04 | 300 to 300 |" in growth_table(
        GROWTH
    )
    assert as_bytes(growth_figure(GROWTH), "png", dpi=50) == as_bytes(growth_figure(GROWTH), "png", dpi=50)


def test_a_drag_is_told_by_its_frames():
    found = record_of({"drawn": 30, "seconds": 2.0, "processor_seconds": 0.06, "browser": "a browser"})
    line = dragging_line({**found, "load": 1.0, "machine": "a machine"})
    assert "dragged for 30 frames in a browser" in line
    assert "a frame takes **2.0 ms**" in line
    assert "15 frames per second were shown, at a load of 1.0 processes a core" in line


def test_the_table_of_processes_compares_with_one_thread():
    seconds = {"1 process, 1 thread": 2.0, "1 process, 2 threads": 1.25, "2 processes, 1 thread each": 1.0}
    group = Group("epoch", {name: Times([value] * 3) for name, value in seconds.items()})
    group.notes.update(step_ms=1.0, parameters=10, all_reduce_ms=0.1, predictions={})
    table = scaling_table({"machine": "a machine", "groups": [{"programs": {}}, group.record()]})
    assert "| 1 process, 2 threads | 1.25 | 1.60 |" in table
    assert "| 2 processes, 1 thread each | 1.00 | 2.00 |" in table


def test_measuring_some_again_keeps_the_others():
    def part(ratio: float, *names: str) -> dict:
        return {
            "rows": [{"name": name, "ratio": ratio} for name in names],
            "groups": [{"what": name} for name in names],
        }

    first = {"commit": "a", **joined({}, part(1.0, "step", "epoch"), "a")}
    again = joined({**first, "commit": "b"}, part(2.0, "epoch", "bounds"), "b")
    assert {entry["name"]: (entry["ratio"], entry["commit"]) for entry in again["rows"]} == {
        "step": (1.0, "a"), "epoch": (2.0, "b"), "bounds": (2.0, "b")
    }  # fmt: skip
    assert [entry["what"] for entry in again["groups"]] == ["step", "epoch", "bounds"]


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ("1 threads", "1 thread"),
        *(("1 CPU thread(s)", "1 CPU thread"), ("12 CPU thread(s)", "12 CPU threads")),
        *((threads_in_words(1), "1 CPU thread"), (threads_in_words(12), "12 CPU threads")),
    ],
)
def test_a_table_counts_threads_as_one_speaks(recorded, shown):
    assert machine_of({"machine": f"x86_64, {recorded}, no GPU"}) == f"x86_64, {shown}, no GPU"
    assert threads_in_words(torch.get_num_threads()) in describe_environment()["machine"]
