"""Figures: what they show, that they leave everything as it was, and what they say to bad input."""

import subprocess
import sys

import matplotlib
import pytest

import inference
from inference import Run, RunError, plot_curves


def run_with(folder, rows: int = 4, **columns: float) -> Run:
    run = Run.create(folder / "run", config={}, pair={})
    named = {f"{split}_{name}": value for split in ("train", "test") for name, value in columns.items()}
    if rows:
        run.write_metrics(
            [
                {"epoch": n, **{key: value / n for key, value in named.items()}, "seconds": 1.0}
                for n in range(1, rows + 1)
            ]
        )
    return run


def test_figures_are_found_without_importing_matplotlib():
    code = (
        "import sys, inference; "
        "assert {*inference._FIGURES} <= {*dir(inference)} & {*inference.__all__}; "
        "assert 'matplotlib' not in sys.modules; from inference import plot_curves; "
        "assert 'matplotlib' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", inference._FIGURES)
def test_a_figure_checks_its_arguments(name):
    with pytest.raises(TypeError, match=f"of {name}()"):
        getattr(inference, name)(*[3.5j] * 3)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_curves_show_every_term_with_a_line_for_each_split(tmp_path, rows):
    run = run_with(tmp_path, rows, negative_elbo=9.0, kl=2.0, reconstruction=7.0)
    before = dict(matplotlib.rcParams)
    figure = plot_curves(run.path)
    assert dict(matplotlib.rcParams) == before
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "negative ELBO (nats)",
        "KL (nats)",
        "reconstruction (nats)",
    ]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["train", "test"]
    shown = figure.axes[1].get_lines()[0].get_ydata()
    assert list(shown) == [2.0 / n for n in range(1, rows + 1)]
    assert figure._repr_png_()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("kl", "reconstruction"), [(0.0, 9.0), (9.0, 0.0)])
def test_curves_leave_out_terms_of_which_one_is_always_zero(tmp_path, kl, reconstruction):
    run = run_with(tmp_path, negative_elbo=9.0, kl=kl, reconstruction=reconstruction)
    assert len(plot_curves(run).axes) == 1
    assert len(plot_curves(run, ["kl", "reconstruction"]).axes) == 2


def test_curves_of_a_run_without_metrics_or_of_an_unknown_metric(tmp_path):
    with pytest.raises(RunError, match="there is no run folder"):
        plot_curves(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has no metric accuracy: choose from negative_elbo, kl"):
        plot_curves(run_with(tmp_path, negative_elbo=9.0, kl=1.0), ["accuracy"])
    (tmp_path / "new").mkdir()
    with pytest.raises(RunError, match="has no metrics yet: train it first"):
        plot_curves(run_with(tmp_path / "new", rows=0))
