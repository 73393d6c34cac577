"""What a long job says while it runs: a bar on a terminal, a line now and then elsewhere, nothing where it is quick."""

import io
import math
import os
import re
import sys
import time

import pytest
import torch
from conftest import described_vae

from inference import Images, Settings, build, collapse_threshold, diagnose, fit, negative_bounds
from inference.compilation import weigher
from inference.system import progress
from pyro_models import BernoulliPixels

LINE = re.compile(r"(.+): (\d+) %, ([\d.kM]+) of ([\d.kM]+) (\w+)[^,]*, \d\d:\d\d so far(, \d\d:\d\d left)?")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_job_before(monkeypatch):
    monkeypatch.setattr(progress.Bar, "_last", (-math.inf, 0.0))


@pytest.fixture
def impatient(monkeypatch):
    """Lines every twentieth of a second in place of every half minute."""
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.05)


def images(count: int = 40) -> Images:
    return Images("bits", (torch.rand(count, 1, 4, 4) < 0.3).byte(), torch.zeros(count).long(), 2, "static")


def pair() -> tuple:
    return tuple(build(described_vae((1, 4, 4), [4])).values())


def test_off_a_terminal_there_is_a_whole_line_now_and_then(impatient, capsys):
    with progress.Bar("counting", total=4, unit="sheep") as bar:
        for _ in range(4):
            time.sleep(0.06)
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    assert {match[1] for match in found} == {"counting"}
    assert {match[5] for match in found} == {"sheep"}
    assert [int(match[2]) for match in found] == sorted(int(match[2]) for match in found)


def test_one_step_that_takes_long_does_not_silence_it(impatient, capsys):
    with progress.Bar("compiling", total=1, unit="graphs"):
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert {line.partition(",")[0] for line in lines} == {"compiling: 0 %"}
    assert all(line.endswith(" so far") for line in lines)


def test_a_job_of_unknown_length_says_how_long_it_has_taken(impatient, capsys, monkeypatch):
    with progress.Bar("opening the data"):
        time.sleep(0.12)
    assert set(capsys.readouterr().err.splitlines()) == {"opening the data: 00:00 so far"}
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.Bar("opening the data"):
        pass
    assert "opening the data: 00:00 so far" in terminal.getvalue()
    assert terminal.getvalue().endswith(" \r")  # wiped off in the end


def test_the_time_left_is_that_of_the_units_alone(capsys):
    with progress.Bar("counting", total=100, unit="sheep") as bar:
        now = bar.start_t
        bar._time = lambda: now
        assert str(bar).endswith("00:00 so far, ? left")
        now += 60  # to compile
        bar.update(10)
        now += 1
        bar.update(10)
        assert str(bar) == "counting: 20 %, 20 of 100 sheep, 01:01 so far, 00:08 left"


def test_the_time_left_leaves_out_the_step_that_is_compiled(capsys):
    with progress.Bar("training", total=45, unit="steps") as bar:
        now = bar.start_t
        bar._time = lambda: now
        now += 3
        bar.update()
        now += 30
        assert str(bar).endswith("1 of 45 steps, 00:33 so far, ? left")
        bar.update()
        for _ in range(3):
            now += 1
            bar.update()
        assert str(bar) == "training: 11 %, 5 of 45 steps, 00:36 so far, 00:40 left"


def test_quick_jobs_one_after_the_other_are_a_long_one(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.4)
    for what in ("one", "two"):
        with progress.Bar(what):
            time.sleep(0.3)
    assert capsys.readouterr().err.splitlines() == ["two: 00:00 so far"]


def test_compiling_weights_is_a_phase_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(weigher, "_WORTH_COMPILING", 1)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.01)
    recorded = []

    def record(compiler, tensors):
        recorded.append(tensors[0].shape)
        time.sleep(0.1)

    monkeypatch.setattr(weigher.Compiler, "_record", record)
    negative_bounds(*pair(), images(), ms=(3,), repeats=1, batch_size=30, chunk_size=40)
    assert recorded == [(13, 1, 4, 4)]  # of the first block, as log_weights cuts it
    phases = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert phases[0] == "compiling the importance weights"
    assert phases == sorted(phases, reverse=True)  # before the bounds


def test_quick_jobs_say_nothing(capsys):
    model, guide = pair()
    rows = fit(model, guide, images(), images(), Settings(epochs=2, batch_size=20, device="cpu"), show=None)
    negative_bounds(model, guide, images(), ms=(2,), repeats=2)
    diagnose(model, guide, images(), num_images=10, num_weighted=2, num_samples=20)
    assert len(rows) == 2
    assert capsys.readouterr() == ("", "")


def test_news_puts_the_next_line_off(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.4)
    with progress.Bar("counting", total=8, unit="sheep") as bar:
        for i in range(8):
            time.sleep(0.1)
            bar.say(f"news {i}")
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"news {i}" for i in range(8)]
    assert err == ""


@pytest.mark.parametrize("failing", ["closed", "gone"])
def test_nobody_reading_is_no_failure(impatient, monkeypatch, failing):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", None if failing == "closed" else Gone())
    with progress.Bar("counting", total=1, unit="sheep") as bar:
        time.sleep(0.12)
        bar.update()


def test_on_a_terminal_each_epoch_leaves_a_line_and_the_bar_ends_full(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    rows = fit(*pair(), images(), images(), Settings(epochs=5, batch_size=20, device="cpu"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    for epoch, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        assert line.startswith(f"epoch {epoch}/5: ")
        for split in ("train", "test"):
            assert f"{split} {row[f'{split}_negative_elbo']:.3f}" in line
    last = terminal.getvalue().rstrip().rpartition("\r")[2]
    assert "100%" in last
    assert "10/10" in last
    assert f"epoch 5/5, test {rows[-1]['test_negative_elbo']:.3f}" in last


def test_the_bar_of_a_run_that_stops_early_ends_full_too(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    stopping = Settings(epochs=50, batch_size=20, num_validation=10, patience=1, lr=1e-9, device="cpu")
    rows = fit(*pair(), images(), images(), stopping)
    assert len(rows) < 50
    assert "100%" in terminal.getvalue().rstrip().rpartition("\r")[2]


def test_a_terminal_of_unknown_size_has_a_bar(monkeypatch):
    """tqdm shows nothing where the operating system says 0 columns and 0 rows."""
    monkeypatch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((0, 0)))
    terminal = Terminal()
    monkeypatch.setattr(terminal, "fileno", lambda: 2)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.Bar("counting", total=2, unit="sheep") as bar:
        bar.update(2)
    assert "2/2" in terminal.getvalue()


def test_every_long_job_says_how_far_it_is(impatient, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.002)
    update = progress.Bar.update
    monkeypatch.setattr(progress.Bar, "update", lambda bar, n=1: (time.sleep(0.02), update(bar, n))[1])  # a long job
    model, guide = pair()
    jobs = {
        "training": lambda: fit(model, guide, images(), images(), Settings(epochs=1, batch_size=20, device="cpu")),
        "bounds, m = 1, 3": lambda: negative_bounds(model, guide, images(), ms=(1, 3), repeats=1),
        "mutual information of z": lambda: diagnose(model, guide, images(1000), num_weighted=1),
        "importance weights": lambda: diagnose(model, guide, images(), num_weighted=2, num_samples=20),
        "the best constants without a code": lambda: collapse_threshold(BernoulliPixels(), images(400).observe()),
    }
    for what, job in jobs.items():
        job()
        assert what in {match[1] for match in map(LINE.fullmatch, capsys.readouterr().err.splitlines()) if match}


def test_the_weights_of_a_diagnosis_are_counted_by_observations(monkeypatch):
    counts = []
    update = progress.Bar.update
    monkeypatch.setattr(progress.Bar, "update", lambda bar, n=1: (counts.append(n), update(bar, n))[1])
    with progress.Bar("importance weights", 3, "observations") as bar:
        weigh = bar.counting(lambda count, x: torch.zeros(count, len(x)), of_each=5)
        for count, size in ((3, 1), (2, 1), (5, 2)):  # one in two parts, then two
            weigh(count, torch.zeros(size))
        assert bar.n == bar.total
    assert counts == [0, 1, 2]
    counts.clear()
    diagnose(*pair(), images(), num_images=10, num_weighted=6, num_samples=500)
    assert counts[-3:] == [2, 2, 2]
