"""The exercise: no points for an empty answer, full marks for the solution, and for a mistake its own question lost."""

import json
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib
import pytest
import torch
from conftest import ROOT
from exercise_answers import RIGHT, SOURCE, WRONG

EXERCISE = ROOT / "tutorial" / "exercise"
CELL = re.compile(r"^# %%([^\n]*)\n(.*?)(?=^# %%|\Z)", flags=re.M | re.S)
REGION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION\n", flags=re.M | re.S)
EMPTY = REGION.sub(r"\1raise NotImplementedError\n", SOURCE)
POINTS = {
    **{"q2a": 5, "q2b": 10, "q2d": 10},
    **{"q3d_values": 8, "q3d_log_det": 6, "q3d_inverse": 6, "q3d_flip": 4, "q3d_pairs": 5, "q3d_loss": 5},
}


def metadata(head: str) -> dict:
    """What nbgrader knows of a cell."""
    found = re.search(r"nbgrader=(\{.*?\})", head)
    return json.loads(found[1]) if found else {}


@pytest.fixture
def grade(monkeypatch):
    """Run a notebook as nbgrader does, past every error; returns the message of each question that lost its points."""
    matplotlib.use("Agg")
    monkeypatch.syspath_prepend(str(EXERCISE))

    def run(text: str, slow: bool = False) -> dict[str, str]:
        names: dict = {"__name__": "notebook"}
        lost, graded = {}, set()
        for head, code in CELL.findall(text):
            if "[markdown]" in head or ('tags=["slow"]' in head and not slow):
                continue
            cell = metadata(head)
            test = cell.get("grade") and cell["locked"]
            try:
                exec(code, names)
            except Exception as error:
                if test:
                    lost[cell["grade_id"]] = str(error) or type(error).__name__
                elif text == SOURCE:
                    raise
            if test:
                graded.add(cell["grade_id"])
        assert graded == POINTS.keys()
        return lost

    return run


def test_the_points_are_those_of_the_assignment():
    cells = [metadata(head) for head, _ in CELL.findall(SOURCE)]
    points = {cell["grade_id"]: cell["points"] for cell in cells if cell.get("grade")}
    assert {name: points[name] for name in POINTS} == POINTS
    totals = {number: sum(value for name, value in points.items() if name[1] == number) for number in "123"}
    assert totals == {"1": 30, "2": 30 + points["q2e"], "3": 50}
    assert points["q2e"] == 5  # extra
    identifiers = [cell["grade_id"] for cell in cells if cell]
    assert len(identifiers) == len(set(identifiers))
    assert all(cell["schema_version"] == 3 for cell in cells if cell)


def test_the_solution_gets_full_marks(grade):
    assert grade(SOURCE, slow=True) == {}


def test_an_empty_answer_gets_no_points(grade):
    assert "SOLUTION" not in EMPTY
    assert grade(EMPTY, slow=True) == dict.fromkeys(POINTS, "NotImplementedError")


def test_the_messages_call_nothing_that_is_right_a_mistake(grade):
    """Other right answers keep their points."""
    for old, new in RIGHT:
        assert SOURCE.count(old) == 1, old
        assert grade(SOURCE.replace(old, new)) == {}, new


def test_no_mistake_looks_like_another_or_like_the_right_answer(grade, monkeypatch):
    grade(SOURCE)  # the checks can be imported now
    import check_flow
    import check_vae

    def compare(name, answer, right, mistakes=(), hint=""):
        if right.abs().max() > 100:
            return  # images of 900 pixels are for what underflows; small ones tell the rest apart
        answers = [("", right), *mistakes]
        for (one, first), (other, second) in combinations(answers, 2):
            if one != other and first.shape == second.shape and first.isfinite().all() and second.isfinite().all():
                assert not torch.allclose(first, second, rtol=1e-3, atol=1e-3), f"{name}: {one} = {other}"
        seen.add(name)

    seen: set[str] = set()
    monkeypatch.setattr(check_vae, "compare", compare)
    monkeypatch.setattr(check_flow, "compare", compare)
    assert grade(SOURCE) == {}
    assert len(seen) == 12


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_loses_its_own_question_alone(mistake, grade):
    old, new, question, message = WRONG[mistake]
    assert SOURCE.count(old) == 1
    lost = grade(SOURCE.replace(old, new))
    assert lost.keys() == {question}
    assert message in lost[question]
    assert "\n" not in lost[question]


def test_nbgrader_makes_the_students_version_and_grades_it(tmp_path):
    """The whole way: the release, two students who hand in, the gradebook."""
    for package in ("nbgrader", "jupytext"):
        pytest.importorskip(package, reason="the exercise needs pip install -e '.[exercise]'")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(*command: str | Path) -> None:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(EXERCISE / "build.py", tmp_path)
    handed_out = (tmp_path / "release/generative_models/generative_models.ipynb").read_text()
    assert "YOUR CODE HERE" in handed_out
    assert not re.search(r"SOLUTION|HIDDEN|seed=1|Jensen", handed_out)
    for student, folder in (("solved", "source"), ("empty", "release")):
        (tmp_path / "submitted" / student).mkdir(parents=True)
        (tmp_path / folder / "generative_models").rename(tmp_path / "submitted" / student / "generative_models")
    run(EXERCISE / "build.py", tmp_path)
    run("-m", "nbgrader", "autograde", "generative_models")
    run("-m", "nbgrader", "export", "--to", tmp_path / "grades.csv")
    rows = [line.split(",") for line in (tmp_path / "grades.csv").read_text().split()]
    scores = {row[3]: tuple(map(float, row[-2:])) for row in rows[1:]}
    assert scores == {"solved": (sum(POINTS.values()), 115), "empty": (0, 115)}
