"""Figures: what they show, that they leave everything as it was, and what they say to bad input."""

import math
import random
import subprocess
import sys
from functools import partial

import matplotlib
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from linear_gaussian import ExactGuide, LinearGaussian
from torch import nn

import inference
from inference import (
    Images,
    Run,
    RunError,
    Settings,
    Vectors,
    binarise,
    fit,
    plot_curves,
    plot_density_2d,
    plot_latents_2d,
    plot_marginals,
    plot_pairs,
    plot_reconstructions,
    plot_samples,
    standardise,
)
from inference.figures.image_grid import image_grid
from inference.figures.intensities import intensities
from inference.figures.points import Points, histogram
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, NoLatents, StandardNormal


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


def test_the_rows_of_a_fit_are_drawn_like_those_of_its_run(tmp_path):
    run = run_with(tmp_path, negative_elbo=3.0, kl=1.0, reconstruction=2.0)
    assert (
        plot_curves(run.metrics())._repr_png_() == plot_curves(run)._repr_png_() == plot_curves(run.path)._repr_png_()
    )
    with pytest.raises(RunError, match="no metrics yet"):
        plot_curves([])


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


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e308])
def test_curves_leave_out_what_cannot_be_drawn(value):
    rows = [{"epoch": n, "train_negative_elbo": value if n % 2 else float(n)} for n in range(1, 31)]
    (axes,) = plot_curves(rows, ["negative_elbo"]).axes
    assert [y for y in axes.get_lines()[0].get_ydata() if y == y] == list(range(2, 31, 2))
    assert axes.get_ylim() == pytest.approx((2 - 1.4, 30 + 1.4))
    nothing = plot_curves([{"epoch": 1, "train_negative_elbo": value}], ["negative_elbo"])
    assert nothing._repr_png_()[:4] == b"\x89PNG"


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


class Code(nn.Module):
    """A vector VAE of a user's own: z ~ N(0, I), x ~ N(W z, s^2 I), with the exact posterior as its guide."""

    def __init__(self, size: int = 3, latent_dim: int = 2) -> None:
        super().__init__()
        self.model = LinearGaussian(size, latent_dim)
        self.guide = ExactGuide(self.model)


def vectors(size: int = 3, count: int = 200, **more) -> Vectors:
    values = 10 + torch.tensor([1.0, 50.0, 0.02, *[1.0] * size])[:size] * torch.randn(count, size)
    labels = torch.arange(count) % 3
    return standardise(Vectors("points test", values, labels, **more))[0]


def bits() -> Images:
    return Images("bits test", torch.randint(2, (30, 1, 4, 4)).byte(), torch.arange(30) % 3, 2, "static")


def image_vae() -> tuple[nn.Module, nn.Module]:
    model = VAE(StandardNormal(2), MLPDecoder(2, (1, 4, 4), [4]))
    return model, MeanFieldGuide(MLPEncoder((1, 4, 4), [4]), latent_dim=2)


def normal(x):
    """A user's own pair without latents: plain functions, a correlated normal in the plane."""
    covariance = torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=x.dtype)
    with pyro.plate("data", len(x)):
        pyro.sample("point", dist.MultivariateNormal(torch.zeros(2, dtype=x.dtype), covariance), obs=x)


def nothing(x, labels=None):
    pass


def by_label(x, labels):
    """p(x | label): normals around -4 and 4."""
    loc = torch.where(labels[:, None] == 0, -4.0, 4.0).expand(-1, 2)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


def texts(figure) -> str:
    """Everything that is written in a figure, but for the numbers of its axes."""
    shown = [*figure.texts, *(text for legend in figure.legends for text in [legend.get_title(), *legend.get_texts()])]
    for axes in figure.axes:
        shown += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    return "\n".join(text.get_text() for text in shown)


def points_in(axes) -> torch.Tensor:
    return torch.cat([torch.tensor(part.get_offsets()) for part in axes.collections])


CALLS = {
    "samples of images": lambda: (plot_samples, image_vae()[0]),
    "samples of images beside data": lambda: (partial(plot_samples, data=bits()), image_vae()[0]),
    "samples of vectors": lambda: (plot_samples, LinearGaussian(3)),
    "samples in the plane": lambda: (partial(plot_samples, data=vectors(2)), normal),
    "reconstructions of images": lambda: (partial(plot_reconstructions, data=bits()), *image_vae()),
    "reconstructions of vectors": lambda: (partial(plot_reconstructions, data=vectors()), *Code().children()),
    "density of a VAE": lambda: (
        partial(plot_density_2d, data=vectors(2), size=20, num_samples=5),
        *Code(2).children(),
    ),
    "density without latents": lambda: (partial(plot_density_2d, data=vectors(2), size=20), normal, nothing),
    "density given labels": lambda: (
        partial(plot_density_2d, data=vectors(2, conditional=True), size=20),
        by_label,
        nothing,
    ),
    "latents of images": lambda: (partial(plot_latents_2d, data=bits()), *image_vae()),
    "latents of vectors": lambda: (partial(plot_latents_2d, data=vectors(4)), *Code(4, 3).children()),
    "marginals": lambda: (partial(plot_marginals, data=vectors()), LinearGaussian(3)),
    "pairs": lambda: (partial(plot_pairs, data=vectors()), LinearGaussian(3)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_leaves_everything_as_it_was_and_depends_on_its_seed_alone(name):
    """Generators, modes, rcParams, pyplot, the default dtype, switches, the parameter store and the arguments."""
    plot, *programs = CALLS[name]()
    modules = [program.train() for program in programs if isinstance(program, nn.Module)]
    weights = [value.clone() for module in modules for value in module.state_dict().values()]
    before = dict(matplotlib.rcParams)
    torch.manual_seed(1)
    random.seed(1)
    expected = torch.rand(3), random.random()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    state = np.random.get_state()[1].tolist()
    first = plot(*programs, seed=3)._repr_png_()
    assert torch.equal(torch.rand(3), expected[0])
    assert random.random() == expected[1]
    assert np.random.get_state()[1].tolist() == state
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    assert all(part.training for module in modules for part in module.modules())
    assert all(
        torch.equal(a, b) for a, b in zip(weights, [v for m in modules for v in m.state_dict().values()], strict=True)
    )
    assert not any(p.grad is not None for module in modules for p in module.parameters())
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert torch.distributions.Distribution._validate_args
    assert not pyro.get_param_store()
    assert first[:4] == b"\x89PNG"
    assert plot(*programs, seed=3)._repr_png_() == first
    if not name.startswith("latents"):  # posterior means are not drawn
        assert plot(*programs, seed=4)._repr_png_() != first


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_works_in_double_precision(name, float64):
    if "images" in name:
        return
    plot, *programs = CALLS[name]()
    assert plot(*programs)._repr_png_()[:4] == b"\x89PNG"


def test_a_density_without_latents_is_exact_and_in_the_units_of_the_data():
    data = vectors(2)
    figure = plot_density_2d(normal, nothing, data, size=60)
    shown, samples, density = figure.axes[:3]
    assert density.get_title().startswith("density, integral ")
    mesh = density.collections[0]
    corners = torch.tensor(mesh.get_coordinates())
    centres = (corners[:-1, :-1] + corners[1:, 1:]).reshape(-1, 2) / 2
    x = (centres.float() - data.loc) / data.scale
    covariance = torch.tensor([[1.0, 0.5], [0.5, 2.0]])
    exact = dist.MultivariateNormal(torch.zeros(2), covariance).log_prob(x) + data.log_det
    assert torch.tensor(mesh.get_array()).flatten().float().log().allclose(exact, atol=1e-3)
    area = (corners[1, 1] - corners[0, 0]).prod()
    printed = float(density.get_title().rpartition(" ")[2])
    assert printed == pytest.approx(float(exact.double().exp().sum() * area), abs=6e-4)
    low, high = data.values.amin(0), data.values.amax(0)
    assert ((points_in(shown) >= low - 1e-3) & (points_in(shown) <= high + 1e-3)).all()
    assert points_in(samples).std(0)[1] > 20, "samples have the scale of the data, not of the programs"
    assert shown.get_title() == "200 observations"
    assert {axes.get_xlabel() for axes in figure.axes[:3]} == {"coordinate 0"}


def test_coordinates_go_by_the_names_of_their_columns():
    data = Vectors("priced", torch.randn(50, 2), columns=("$ now", "$ then\x07"))
    names = ["\\$ now", "\\$ then\\x07"]
    for plot, expected in ((plot_marginals, names), (plot_pairs, ["", *names])):
        figure = plot(normal, data)
        figure.canvas.draw()
        assert [axes.get_xlabel() for axes in figure.axes] == expected


def test_the_density_of_a_vae_is_weighted_and_says_so():
    """The estimate agrees with the evidence in closed form; with an exact guide already from few samples."""
    pair, data = Code(2), vectors(2)
    figure = plot_density_2d(pair.model, pair.guide, data, size=30, num_samples=3)
    title = figure.axes[2].get_title()
    assert title.endswith("(3 importance samples a cell)")
    mesh = figure.axes[2].collections[0]
    corners = torch.tensor(mesh.get_coordinates())
    x = ((corners[:-1, :-1] + corners[1:, 1:]).reshape(-1, 2) / 2).float()
    exact = pair.model.log_evidence((x - data.loc) / data.scale) + data.log_det
    assert torch.tensor(mesh.get_array()).flatten().float().log().allclose(exact, atol=2e-2)


def test_the_density_of_a_fitted_normal_integrates_to_one():
    class Normal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loc, self.log_scale = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

        def forward(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.loc, self.log_scale.exp()).to_event(1), obs=x)

    model = Normal()
    data = Vectors("normal train", torch.tensor([5.0, -3.0]) + torch.tensor([0.1, 20.0]) * torch.randn(1000, 2))
    (data,) = standardise(data)
    fit(model, NoLatents(), data, data, Settings(epochs=3, lr=0.05, device="cpu"))
    title = plot_density_2d(model, NoLatents(), data).axes[2].get_title()
    assert float(title.rpartition(" ")[2]) == pytest.approx(1.0, abs=0.01)


def test_a_conditional_density_is_averaged_over_the_labels_of_the_data():
    values = torch.cat([torch.randn(30, 2) - 4, torch.randn(10, 2) + 4])
    data = Vectors("two test", values, (torch.arange(40) >= 30).long(), conditional=True)
    figure = plot_density_2d(by_label, nothing, data, size=80)
    mesh = figure.axes[2].collections[0]
    density = torch.tensor(mesh.get_array()).flatten()
    corners = torch.tensor(mesh.get_coordinates())
    centres = (corners[:-1, :-1] + corners[1:, 1:]).reshape(-1, 2) / 2
    area = (corners[1, 1] - corners[0, 0]).prod()
    assert float(density[centres.sum(1) < 0].sum() * area) == pytest.approx(0.75, abs=0.01)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["0", "1"]


def test_a_density_is_zero_outside_the_support():
    def positive(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Exponential(torch.ones(2)).to_event(1), obs=x)

    data = Vectors("positive test", torch.rand(100, 2) * 8)
    figure = plot_density_2d(positive, nothing, data, size=60)
    mesh = figure.axes[2].collections[0]
    corners = torch.tensor(mesh.get_coordinates())
    outside = ((corners[:-1, :-1] + corners[1:, 1:]) / 2 < 0).any(-1).flatten()
    density = torch.tensor(mesh.get_array()).flatten()
    assert (density[outside] == 0).all()
    assert (density[~outside] > 0).all()


def test_samples_of_images_are_means_in_a_grid_with_a_row_for_each_label():
    conditional = VAE(StandardNormal(2), MLPDecoder(2, (1, 4, 4), [4], context=3), num_classes=3)
    grid = plot_samples(conditional, count=5)
    assert [text.get_text() for text in grid.axes[0].texts] == ["0", "1", "2"]
    assert grid.axes[0].get_images()[0].get_array().shape == (3 * 5 + 1, 5 * 5 + 1, 3)
    some = plot_samples(conditional, count=5, labels=[2, 1])
    assert [text.get_text() for text in some.axes[0].texts] == ["2", "1"]


def test_samples_of_a_program_that_needs_data_are_not_the_data():
    """``normal`` is called with rows of the data, and must not observe them."""
    far = Vectors("far test", 1000 + torch.randn(50, 2))
    figure = plot_samples(normal, data=far, count=40)
    assert figure.axes[1].get_title() == "40 samples, 40 outside"
    assert points_in(figure.axes[1]).abs().max() < 10
    with pytest.raises(ValueError, match="give data too"):
        plot_samples(normal)


def test_samples_given_labels_stand_beside_data_with_theirs():
    figure = plot_samples(by_label, count=20, data=vectors(2, conditional=True), labels=[0, 1])
    shown, samples = figure.axes
    assert [text.get_text() for text in shown.get_legend().get_texts()] == ["0", "1", "2"]
    assert [text.get_text() for text in samples.get_legend().get_texts()] == ["0", "1"]
    assert [len(part.get_offsets()) for part in samples.collections] == [20, 20]


def test_intensities_go_from_0_to_1_whatever_the_levels():
    data = Images("grey", torch.tensor([0, 4]).byte().view(2, 1, 1, 1), levels=5)
    assert intensities(data.observe(), normal, data).flatten().tolist() == [0.0, 1.0]
    dynamic = binarise(data, "dynamic")
    assert intensities(dynamic.observe(), normal, dynamic).flatten().tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="range of the pixels is unknown"):
        intensities(data.observe(), normal)


def test_channels_that_are_no_colours_are_drawn_side_by_side():
    images = torch.rand(3, 2, 4, 5)
    beside = torch.cat([images[:, :1], images[:, 1:]], dim=3)
    assert image_grid(images, columns=3)._repr_png_() == image_grid(beside, columns=3)._repr_png_()


def test_a_model_in_training_mode_is_drawn_in_evaluation_mode():
    model = VAE(StandardNormal(2), MLPDecoder(2, (1, 4, 4), [4], latent_dropout=0.5))
    pictures = [plot_samples(model.train(mode), count=4)._repr_png_() for mode in (True, False)]
    assert pictures[0] == pictures[1]


def test_a_picture_does_not_depend_on_the_settings_of_matplotlib():
    figure = plot_marginals(LinearGaussian(3), vectors())
    expected = figure._repr_png_()
    with matplotlib.rc_context({"savefig.facecolor": "red", "font.size": 20}):
        assert figure._repr_png_() == expected


def test_marginals_and_pairs_say_which_coordinates_they_show():
    data, model = vectors(9), LinearGaussian(9)
    for plot, panels in ((plot_marginals, 6), (plot_pairs, 21)):
        figure = plot(model, data)
        assert len(figure.axes) == panels
        assert "coordinates 0, 1, 2, 3, 4, 5 of 9" in texts(figure)
        chosen = plot(model, data, coordinates=[8, 1])
        assert "coordinates 8, 1 of 9" in texts(chosen)
        assert {"coordinate 8", "coordinate 1"} <= {axes.get_xlabel() for axes in chosen.axes}
        assert "data" in texts(figure)
        assert "samples" in texts(figure)


def test_a_histogram_of_large_numbers_in_double_precision_has_their_spread():
    values = 1.7e9 + 10 * torch.randn(500, 1, dtype=torch.float64)
    axis = matplotlib.figure.Figure().subplots()
    histogram(axis, {"data": Points(values)}, 0, float(values.min()), float(values.max()))
    top = float(axis.patches[0].get_path().vertices[:, 1].max())
    assert top == pytest.approx(0.04, abs=0.02)


def test_pairs_have_data_and_samples_in_the_same_panels():
    data = vectors(2)
    axes = plot_pairs(LinearGaussian(2), data, count=500).axes
    assert len(axes) == 3  # two marginals and a pair
    both = points_in(axes[1]).float()
    assert len(both) == 2 * len(data)
    assert both[: len(data)].sort(0).values.allclose(data.values.sort(0).values, atol=1e-3)
    assert not both[len(data) :].sort(0).values.allclose(data.values.sort(0).values, atol=1e-3)


def test_reconstructions_of_vectors_stand_against_the_data():
    pair, data = Code(2, 2), vectors(2)
    pair.model.noise = 1e-3  # so that a code gives its data back
    figure = plot_reconstructions(pair.model, pair.guide, data)
    for axes in figure.axes:
        x, again = points_in(axes).T
        assert (x - again).abs().max() < 0.02 * x.std()
    assert "coordinate 0 of the data" in texts(figure)


def test_latents_are_the_two_coordinates_that_vary_most_or_principal_components():
    class Guide(nn.Module):
        def __init__(self, scales) -> None:
            super().__init__()
            self.scales = torch.tensor(scales)

        def forward(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x[:, :1] * 0 + x * self.scales, 1.0).to_event(1))

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(torch.zeros(4), 1.0).to_event(1), obs=x)

    data = Vectors("test", 2 + torch.randn(300, 4), torch.arange(300) % 3)
    two = plot_latents_2d(model, Guide([0.0, 1.0, 0.0, 0.5]), data).axes[0]
    assert (two.get_xlabel(), two.get_ylabel()) == ("z, coordinate 1", "z, coordinate 3")
    assert points_in(two)[:, 0].sort().values.float().allclose(data.values[:, 1].sort().values, atol=1e-5)
    assert [text.get_text() for text in two.get_legend().get_texts()] == ["0", "1", "2"]
    many = plot_latents_2d(model, Guide([2.0, 1.0, 1.0, 0.5]), data).axes[0]
    variances = torch.linalg.eigvalsh((data.values * torch.tensor([2.0, 1.0, 1.0, 0.5])).T.cov())
    share = 100 * float(variances[-1] / variances.sum())
    assert many.get_xlabel() == f"z, principal component 1 ({share:.0f} % of the variance)"
    assert points_in(many).mean(0).abs().max() < 1e-3, "around their mean"
    assert float(points_in(many)[:, 0].var()) == pytest.approx(float(variances[-1]), rel=1e-4)
    assert many.get_title() == "posterior means of z, 300 of test"
    without = Vectors("test", data.values)
    assert plot_latents_2d(model, Guide([2.0, 1.0, 1.0, 0.5]), without).axes[0].get_legend() is None


def two_codes(x):
    with pyro.plate("data", len(x)):
        pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        if x is not None:
            pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1), obs=x)


def two_codes_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def observes_two(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1), obs=x)
        pyro.sample("y", dist.Normal(torch.zeros(2), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_density_2d(normal, nothing, vectors(3)), "of 2 coordinates, but points test has 3"),
        (lambda: plot_density_2d(*image_vae(), bits()), "are of vectors, but bits test holds"),
        (lambda: plot_density_2d(normal, nothing, vectors(2), size=0), "size and num_samples must be at least 1"),
        (lambda: plot_pairs(normal, bits()), "pair plots are of vectors"),
        (lambda: plot_pairs(LinearGaussian(3), vectors(2)), r"draws \(3,\), but points test holds \(2,\)"),
        (lambda: plot_marginals(LinearGaussian(3), vectors(), [3]), r"from 0 to 2; got \[3\]"),
        (lambda: plot_marginals(LinearGaussian(3), vectors(), [1, 1]), "different numbers"),
        (lambda: plot_marginals(LinearGaussian(3), vectors(), []), "one to 6"),
        (lambda: plot_marginals(LinearGaussian(3), vectors(), count=0), "count must be at least 1"),
        (lambda: plot_samples(image_vae()[0], 0), "count must be at least 1"),
        (lambda: plot_samples(observes_two, data=vectors(2)), "of one observed site; the model observes x, y"),
        (lambda: plot_reconstructions(normal, nothing, vectors(2)), "no latents: there is nothing to reconstruct"),
        (lambda: plot_reconstructions(*image_vae(), vectors(2)), "points test"),
        (lambda: plot_latents_2d(normal, nothing, vectors(2)), "no latents: there are no posterior means"),
        (lambda: plot_latents_2d(two_codes, two_codes_guide, vectors(2)), "choose one with latent=, from a, b"),
        (lambda: plot_latents_2d(two_codes, two_codes_guide, vectors(2), "c"), "no latent 'c': choose from a, b"),
        (lambda: plot_latents_2d(two_codes, two_codes_guide, vectors(2), "a"), "has one coordinate; .* needs two"),
        (lambda: plot_latents_2d(two_codes, two_codes_guide, vectors(2), "b", 1), "count must be at least 2"),
    ],
)
def test_bad_input_gets_one_line(call, message):
    with pytest.raises(ValueError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
