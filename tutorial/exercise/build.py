"""The student's version of the exercise, made with jupytext and nbgrader: python tutorial/exercise/build.py

The course folder, _build unless another is named, then holds source/ with the solution, release/ to hand out, and the
gradebook.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "generative_models"
BESIDE = ("feedback.py", "check_vae.py", "check_flow.py")  # what the notebook imports, handed out with it


def run(*command: str | Path, course: Path) -> None:
    """A program of this environment, in the course folder; nbgrader looks for others of its own on the path."""
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=course, env=os.environ | {"PATH": programs}, check=False
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed; the exercise needs pip install -e '.[exercise]'")


def build(course: Path) -> Path:
    """Write the solution as a notebook, and the student's version without it; returns the student's notebook."""
    source = course / "source" / NAME
    source.mkdir(parents=True, exist_ok=True)
    for name in BESIDE:
        shutil.copy(HERE / name, source)
    shutil.copy(HERE / "nbgrader_config.py", course)
    notebook = source / f"{NAME}.ipynb"
    run("jupytext", "--quiet", "--to", "ipynb", "--output", notebook, HERE / f"{NAME}.py", course=course)
    run("nbgrader", "generate_assignment", NAME, "--create", "--force", course=course)
    return course / "release" / NAME / f"{NAME}.ipynb"


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).resolve() if sys.argv[1:] else HERE / "_build"))
