"""A signal that has to wait for something long says for what."""

import signal
import time

import pytest

from inference.system import interrupts
from inference.system.interrupts import noted_interrupts


@pytest.mark.parametrize(("quiet", "wait", "lines"), [(False, 0.05, 1), (True, 0.05, 0), (False, 60.0, 0)])
def test_a_stop_that_waits_says_so_once(monkeypatch, capsys, quiet, wait, lines):
    """Nothing is said where the step ends soon, or the run is quiet."""
    monkeypatch.setattr(interrupts, "_SECONDS_UNTIL_SAID", wait)
    with noted_interrupts(quiet=quiet) as noted:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.5)
        assert noted.signum == signal.SIGINT
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert all("a second Ctrl-C stops at once" in line for line in said)


def test_without_a_signal_nothing_is_said(monkeypatch, capsys):
    monkeypatch.setattr(interrupts, "_SECONDS_UNTIL_SAID", 0.0)
    with noted_interrupts():
        time.sleep(0.1)
    assert capsys.readouterr().err == ""
