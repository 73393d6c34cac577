"""What a report leaves out, where it leads, and how large its figures are."""

import json
import re
import shlex
from importlib import import_module

import pytest
from conftest import ROOT

from inference import RunError
from pyro_models_cli import course
from pyro_models_cli.commands.explore import ExploreOptions, explore
from pyro_models_cli.commands.report import ReportOptions, report
from pyro_models_cli.commands.train_vae import TrainVAEOptions, train_vae
from pyro_models_cli.course import CHAPTERS, chapter_on

SMALL = {
    "latent_dim": 2,
    "epochs": 1,
    "encoder": {"class_path": "MLPEncoder", "init_args": {"hidden": [8]}},
    "decoder": {"class_path": "MLPDecoder", "init_args": {"hidden": [8]}},
}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def train(**options) -> None:
        train_vae(TrainVAEOptions(**SMALL, out="a run", **options))

    return train


def page_of(run: str = "a run") -> str:
    return report([run], ReportOptions(out="page")).read_text()


def left_out(page: str) -> dict[str, str]:
    """Commands by what each would add."""
    found = re.findall(r"<li>([^<]*)\. Run <code>(.*?)</code>", page)
    return {why: command.replace("&#39;", "'") for why, command in found}


def run(command: str) -> None:
    program, name, *options = shlex.split(command)
    assert program == "pyro-models"
    import_module(f"pyro_models_cli.commands.{name.replace('-', '_')}").command(options)


def test_every_part_that_is_left_out_comes_with_the_command_that_makes_it(trained):
    trained(dataset="digits")
    missing = left_out(page_of())
    unlabelled = "Nothing is shown label by label: the programs do not see the labels that the data have"
    assert list(missing) == ["No evaluation yet", "No diagnosis yet", unlabelled]
    run(missing["No evaluation yet"])
    run(missing["No diagnosis yet"])
    page = page_of()
    assert list(left_out(page)) == [unlabelled]
    assert "negative IWAE, m = 150" in page
    assert "The guide loses at least" in page
    run(missing[unlabelled])
    again = left_out(page_of("a run_conditional"))
    assert list(again) == ["No evaluation yet", "No diagnosis yet"]
    assert again["No diagnosis yet"] == "pyro-models diagnose 'a run_conditional'"


@pytest.mark.parametrize(
    "damage",
    [{"latents": [1]}, {"latents": [{"name": "z"}]}, {"gap": "wide"}, {"latents": "all"}, {"divergence": ["x"]}],
)
def test_a_damaged_diagnosis_is_named(trained, tmp_path, damage):
    trained(dataset="digits")
    run(left_out(page_of())["No diagnosis yet"] + " --num_images 20 --num_weighted 2 --num_samples 20")
    file = tmp_path / "a run" / "diagnosis.json"
    record = json.loads(file.read_text())
    if "divergence" in damage:
        record["latents"][0].update(damage)
    file.write_text(json.dumps(record | damage))
    with pytest.raises(RunError, match=r"diagnosis\.json is damaged"):
        page_of()


def test_what_was_measured_of_other_weights_is_left_out(trained):
    trained(dataset="digits")
    for command in left_out(page_of()).values():
        if "train" not in command:
            run(command)
    run("pyro-models train-vae --resume --epochs 2 --out 'a run'")
    page = page_of()
    stale = [why for why in left_out(page) if why.endswith("not of these weights, those of epoch 2")]
    assert [why.split()[1] for why in stale] == ["evaluation", "diagnosis"]
    assert "<th" not in page


def test_a_page_of_the_same_weights_beside_the_report_is_linked(trained, tmp_path):
    trained(dataset="wine")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "own.html").write_text("<p>mine</p>")
    assert "own.html" not in page_of()
    explore(["a run"], ExploreOptions(out="page/to play.html"))
    assert page_of().count('href="to%20play.html"') == 1
    run("pyro-models train-vae --resume --epochs 2 --out 'a run'")
    assert "play.html" not in page_of()


def test_without_test_data_nothing_is_measured(trained, tmp_path):
    (tmp_path / "points.csv").write_text("a,b,kind\n" + "".join(f"{n},{n * n % 7},{n % 2}\n" for n in range(40)))
    trained(dataset="points.csv", test_fraction=0.0)
    missing = left_out(page_of())
    assert [why.split(":")[0] for why in missing] == ["No bounds and no diagnosis", "No labels"]
    again, labelled = missing.values()
    run(again)
    assert "No evaluation yet" in left_out(page_of("a run_tested"))
    run(labelled.replace("NAME", "kind"))
    assert "Nothing is shown label by label" in page_of("a run_labelled")


def test_chapters_are_those_of_the_course():
    for chapter, title in CHAPTERS.items():
        assert f"\n# {int(chapter[:2])}. {title}\n" in (ROOT / "tutorial" / f"{chapter}.md").read_text()


def test_a_chapter_is_linked_where_it_is_to_be_found(tmp_path, monkeypatch):
    page = tmp_path / "a page" / "report.html"
    here = chapter_on("02_vae", page)
    assert here["title"] == "Chapter 2, The variational autoencoder"
    assert (page.parent / here["address"]).resolve().stem == "02_vae"
    monkeypatch.setattr(course, "_CHECKOUT", tmp_path)
    assert chapter_on("02_vae", page)["address"] is None
    (tmp_path / "tutorial").mkdir()
    (tmp_path / "tutorial" / "02_vae.md").touch()
    assert chapter_on("02_vae", page)["address"] == "../tutorial/02_vae.md"
    (tmp_path / "docs/_build/html/tutorial").mkdir(parents=True)
    (tmp_path / "docs/_build/html/tutorial/02_vae.html").touch()
    assert chapter_on("02_vae", page)["address"] == "../docs/_build/html/tutorial/02_vae.html"
    monkeypatch.setattr(course, "published_at", lambda: "https://example.org/course")
    assert chapter_on("02_vae", page)["address"] == "https://example.org/course/tutorial/02_vae.html"


def test_the_address_of_the_site_is_that_of_the_package(monkeypatch):
    class Metadata:
        def get_all(self, name: str) -> list[str]:
            assert name == "Project-URL"
            return ["Source, https://example.org/code", "Documentation, https://example.org/course/"]

    monkeypatch.setattr(course, "metadata", lambda name: Metadata())
    assert course.published_at() == "https://example.org/course"
