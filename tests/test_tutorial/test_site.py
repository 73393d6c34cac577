"""The site builds without a warning; its chapters are built alike. `make docs` also runs every chapter."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

CHAPTERS = sorted((ROOT / "tutorial").glob("[01][0-9]_*.md"))
CELL = re.compile(r"^```\{code-cell\} python\n(?:---\n(.*?)\n---\n)?(.*?)^```$", flags=re.S | re.M)


def cells(chapter) -> list[tuple[str, str]]:
    """Options and code of each cell."""
    return CELL.findall(chapter.read_text())


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_a_chapter_has_all_its_parts(chapter):
    text = chapter.read_text()
    assert re.search(r"^# \d+\. .*\n\n\*\*.*\?\*\*\n", text, flags=re.M), "a title, then a question"
    for heading in ("## What can go wrong", "## Exercises", "## Sources"):
        assert text.count(heading) == 1
    exercises = text.partition("## Exercises")[2]
    assert [int(number) for number in re.findall(r"^\*\*(\d)\.\*\* ", exercises, flags=re.M)] == [1, 2, 3]
    solutions = [code for options, code in cells(chapter) if "Show the solution" in options]
    assert len(solutions) == 3
    assert all("assert" in code for code in solutions), "solutions are tested"
    assert re.search(r"^1\. ", text, flags=re.M), "a derivation in numbered steps"
    assert any("assert" in code for options, code in cells(chapter) if "hide" not in options)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_code_is_short_and_figures_have_captions(chapter):
    for options, code in cells(chapter):
        assert len(code.strip().splitlines()) <= 25, code
        if "plt.subplots" in code:
            assert "caption:" in options, code
            assert "alt:" in options, code
            assert "xlabel=" in code or 'axis("off")' in code, code


@pytest.mark.parametrize("chapter", CHAPTERS[:1], ids=lambda chapter: chapter.stem)
def test_the_first_chapter_runs(chapter, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(ROOT / "tutorial")
    names: dict = {}
    for _, code in cells(chapter):
        exec(code, names)


def test_the_search_with_optuna_finds_the_smallest_bound():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    answers = (ROOT / "docs" / "how_do_i.md").read_text()
    (search,) = re.findall(r"^```python\n(import optuna\n.*?)^```$", answers, flags=re.S | re.M)
    assert "def bound_with(latent_dim, lr):" in answers
    names = {"bound_with": lambda latent_dim, lr: (latent_dim - 7) ** 2 + lr}
    exec(search, names)
    assert len(names["study"].trials) == 20
    assert abs(names["study"].best_params["latent_dim"] - 7) <= 1
    assert 1e-4 <= names["study"].best_params["lr"] <= 1e-2


def test_the_site_says_which_runs_it_cannot_show(tmp_path, monkeypatch):
    pytest.importorskip("sphinx", reason="the site needs pip install -e '.[docs]'")
    monkeypatch.syspath_prepend(ROOT / "docs" / "extensions")
    from explored import explored

    run = shutil.copytree(ROOT / "pretrained" / "vae_digits", tmp_path / "vae_mnist")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("dataset: digits", "dataset: mnist"))
    monkeypatch.setenv("PYRO_MODELS_DATA", str(tmp_path))
    said = explored(run, tmp_path / "site" / "vae_mnist.html", tmp_path / "site")
    assert said == "<p>No page of <code>vae_mnist</code>: mnist was not on the machine that built this site.</p>"
    assert not (tmp_path / "site").exists()


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("myst_nb", reason="the site needs pip install -e '.[docs]'")
    pytest.importorskip("furo", reason="the site needs pip install -e '.[docs]'")
    options = ["-q", "-W", "--keep-going", "-c", "docs", "-d", str(tmp_path / "doctrees")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ".", str(tmp_path / "html")],
        cwd=ROOT,
        env=os.environ | {"DOCS_NOTEBOOKS": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:  # nothing is fetched from elsewhere
        text = page.read_text()
        fetched = re.findall(r"<(?:script|img|link)[^>]*(?:src|href)=\"(https?://[^\"]+)\"", text)
        assert not fetched, f"{page.name} fetches {fetched}"
    assert "--latent_dim" in (tmp_path / "html/docs/command_line.html").read_text()
    frame = re.search(r'<iframe class="explored" src="(.*?)"', (tmp_path / "html/docs/explore.html").read_text())[1]
    played = tmp_path / "html/docs" / frame
    linked = set(re.findall(r'"address":"(.*?)"', played.read_text()))
    assert len(linked) == 8
    assert str(ROOT) not in played.read_text()
    assert all((played.parent / address).is_file() for address in linked)
    assert "MeanFieldGuide" in (tmp_path / "html/docs/api/guides.html").read_text()
