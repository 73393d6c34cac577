"""The numbers of a page are those of torch, and it does what its reader does to it."""

import contextlib
import logging
import os
import re
import shutil
import sys
from dataclasses import asdict, replace
from functools import partial
from typing import get_args

import pytest
import torch
from conftest import ROOT, randomise

from inference import Images, Pair, RunError, effective_sample_share, iwae_bound
from inference.data.vectors import Vectors
from inference.runs import hub
from inference.runs.checkpoint import CheckpointError
from pyro_models import (
    VAE,
    CategoricalPixels,
    ClassNormal,
    ConvDecoder,
    ConvEncoder,
    DensityModel,
    FlowGuide,
    FlowModel,
    FlowPrior,
    FullRankGuide,
    GaussianMixture,
    GaussianVectors,
    LogisticPixels,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NoLatents,
    PixelCNNPixels,
    SemiAmortizedGuide,
    StandardNormal,
    TwoLevelGuide,
    TwoLevelVAE,
    UniformDequantizer,
    VampPrior,
    ZukoFlow,
    flip_realnvp,
    image_realnvp,
    masked_realnvp,
    multiscale_realnvp,
    vector_realnvp,
)
from pyro_models.networks import Activation
from pyro_models.networks.mlp import activation_class
from pyro_models_cli.commands.explore import ExploreOptions, explore
from pyro_models_cli.commands.train_vae import TrainVAEOptions, train_vae
from pyro_models_cli.course import CHAPTERS, chapter_on
from pyro_models_cli.explore import operations
from pyro_models_cli.explore.content import check_side_by_side, run_content
from pyro_models_cli.explore.flow import stops
from pyro_models_cli.explore.graph import exported
from pyro_models_cli.explore.page import FOLDER, is_page, rendered
from pyro_models_cli.explore.vae import decoded, encoded, noise_in_pairs, weighed
from pyro_models_cli.explore.values import Constants

sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tools")]

SHAPE = (1, 8, 8)
HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
# relative to the largest number of a result, or to 1 if that is larger
TOLERANCES = {"float32": 1e-4, "float16": 3e-3}


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, or whichever is found, without a network."""
    if not os.environ.get("PYRO_MODELS_BROWSER"):  # where it must be there, a missing one is an error
        pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e .[browser]")
    from playwright import sync_api as playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        assert not os.environ.get("PYRO_MODELS_BROWSER"), "no Chromium"
        pytest.skip("no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser, file, address="", **options):
    """A page from a file; no message on its console, no error and no request beyond the file."""
    context = browser.new_context(offline=True, **options)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{file}{address}")
    yield page
    page.wait_for_timeout(50)
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len({url.partition("#")[0] for url in asked if url.startswith("file:")}) == 1


def images(name="noise"):
    pixels = torch.randint(17, (30, *SHAPE), generator=torch.Generator().manual_seed(0)).byte()
    return Images(name, pixels, torch.arange(30) % 10, levels=17, binarisation="dynamic")


def vae(prior="normal", decoder="mlp", guide="mean"):
    torch.manual_seed(0)
    encoder = MLPEncoder(SHAPE, [50]) if decoder == "mlp" else ConvEncoder(SHAPE, channels=4, features=20)
    flow = partial(FlowGuide, couplings=2, hidden=[20])  # torch takes seconds to export a coupling
    made = {"mean": MeanFieldGuide, "full": FullRankGuide, "flow": flow}[guide](encoder, 4)
    priors = {
        "normal": StandardNormal(4),
        "mixture": GaussianMixture(4),
        "vamp": VampPrior(made, SHAPE),
    }
    network = MLPDecoder(4, SHAPE, [50]) if decoder == "mlp" else ConvDecoder(4, SHAPE, channels=4)
    model = VAE(priors[prior], network)
    randomise(model, 0.1), randomise(made, 0.1)
    return Pair(model=model, guide=made, config={}, epoch=1)


def written(tmp_path, pairs, data, precision="float32", name="run"):
    constants = Constants(precision)
    contents = [run_content(f"{name} {i}", pair, data, constants) for i, pair in enumerate(pairs)]
    file = tmp_path / "page.html"
    file.write_text(rendered("a title", contents, constants, file))
    return file


def results(page, index, graph, *inputs):
    """What the page computes, as tensors."""
    code = "([i, graph, inputs]) => outputs(content.runs[i], graph, ...inputs).map((part) => [...part])"
    return [torch.tensor(part) for part in page.evaluate(code, [index, graph, [x.flatten().tolist() for x in inputs]])]


def assert_same(found, expected, precision):
    assert len(found) == len(expected)
    for ours, torchs in zip(found, expected, strict=True):
        error = (ours - torchs.flatten()).abs().max() / torchs.abs().max().clamp(min=1)
        assert error < TOLERANCES[precision]


def assert_numbers_of_a_vae(page, index, pair, precision, x, *labels):
    model, guide = pair.model, pair.guide
    z, noise = torch.randn(1, guide.latent_dim), torch.randn(20, 1, guide.latent_dim)
    pairs = noise_in_pairs(guide.latent_dim)
    with torch.no_grad():
        for graph, expected, given in (
            ("decode", [decoded(model, z, *labels)], [z]),
            ("encode", encoded(model, guide, pairs, x, *labels), [x]),
            ("weigh", weighed(model, guide, x, noise, *labels), [x, noise]),
        ):
            assert_same(results(page, index, graph, *given, *labels), expected, precision)


VAES = [("normal", "mlp", "mean"), ("vamp", "mlp", "mean"), ("mixture", "conv", "full"), ("normal", "conv", "flow")]


@pytest.mark.parametrize("precision", TOLERANCES)
def test_a_page_computes_the_numbers_of_a_vae(browser, tmp_path, precision):
    pairs = [vae(*parts) for parts in (VAES[1:] if precision == "float32" else VAES[:1])]
    file = written(tmp_path, pairs, images(), precision)
    with opened(browser, file) as page:
        for i, pair in enumerate(pairs):
            assert_numbers_of_a_vae(page, i, pair, precision, (torch.rand(1, *SHAPE) < 0.5).float())


GREY = Images("grey", torch.randint(5, (30, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte(), levels=5)
LABELLED = replace(GREY, labels=torch.arange(30) % 3, conditional=True)
POINTS = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
FAMILIES = {
    "categorical pixels": (lambda: small_vae(CategoricalPixels(5)), GREY),
    "logistic pixels and labels": (lambda: small_vae(LogisticPixels(5), classes=3), LABELLED),
    "a prior of labels": (lambda: small_vae(CategoricalPixels(5), ClassNormal(2, 3), classes=3), LABELLED),
    "a flow of labels as prior": (
        lambda: small_vae(CategoricalPixels(5), FlowPrior(2, couplings=2, hidden=[4], context=3), classes=3),
        LABELLED,
    ),
    "vectors in double precision": (
        lambda: small_vae(GaussianVectors((5,), scale_from_decoder=True), shape=(5,)),
        Vectors("points", POINTS.double()),
    ),
    "a flow of mixtures as prior": (
        lambda: small_vae(CategoricalPixels(5), FlowPrior(2, couplings=2, hidden=[4], components=2)),
        GREY,
    ),
}


def small_vae(likelihood, prior=None, shape=(1, 4, 4), classes=0):
    torch.manual_seed(0)
    guide = MeanFieldGuide(MLPEncoder(shape, [6], context=classes), 2, num_classes=classes)
    decoder = MLPDecoder(2, shape, [6], per_pixel=likelihood.per_pixel, context=classes)
    model = VAE(prior or StandardNormal(2), decoder, likelihood, num_classes=classes)
    return Pair(randomise(model, 0.2), randomise(guide, 0.2), {}, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_page_computes_the_numbers_of_other_families(browser, tmp_path, family):
    make, data = FAMILIES[family]
    pair = make()
    if "double" in family:
        pair.model.double(), pair.guide.double()
    file = written(tmp_path, [pair], data)
    x, *labels = data.arguments(slice(1))
    with opened(browser, file) as page:
        assert_numbers_of_a_vae(page, 0, pair, "float32", x.float(), *labels)


def test_codes_are_drawn_from_the_prior_of_the_chosen_label(browser, tmp_path):
    """Without spread, a code is the mean of its component."""
    pair = small_vae(CategoricalPixels(5), ClassNormal(2, 3), classes=3)
    draws = small_vae(CategoricalPixels(5), FlowPrior(2, couplings=2, hidden=[4], context=3), classes=3)
    draws.model.code(torch.arange(3))
    with opened(browser, written(tmp_path, [pair, draws], LABELLED), "#label=2&temperature=0") as page:
        code = "i => drawsOf(content.runs[i], 16).map((z) => [...z])"
        found = [torch.tensor(page.evaluate(code, i)) for i in (0, 1)]
        kept = torch.tensor(page.evaluate("[...constants[content.runs[1].prior.loc]]")).view(3, -1, 2)
    assert torch.allclose(found[0], pair.model.prior.loc.detach()[2].expand(16, 2), atol=1e-5)
    assert all((kept[2] == z).all(-1).any() for z in found[1])


def test_an_observation_is_encoded_with_its_own_label(browser, tmp_path):
    pair = small_vae(CategoricalPixels(5), classes=3)
    x, labels = LABELLED.arguments(slice(2))
    with opened(browser, written(tmp_path, [pair], LABELLED), "#label=0") as page, torch.no_grad():
        found = page.evaluate(
            "[...encode(content.runs[0], observation(content.runs[0], 1), ownLabel(content.runs[0], 1))[0]]"
        )
    assert_same([torch.tensor(found)], [pair.guide.posterior(x, labels).mean[1]], "float32")


def test_a_page_computes_every_activation(browser, tmp_path):
    chosen = [activation_class(name)().eval() for name in get_args(Activation)]
    constants = Constants("float32")
    graph = exported(lambda x: tuple(part(x) for part in chosen), chosen, [torch.zeros(41)], constants)
    file = tmp_path / "page.html"
    file.write_text(rendered("", [], constants, file).replace("SECTIONS[content.runs[0].kind]", "[]"))
    x = torch.linspace(-10, 10, 41)
    with browser.new_context(offline=True, bypass_csp=True) as context:
        page = context.new_page()
        page.goto(f"file://{file}")
        found = page.evaluate(
            "([graph, x]) => evaluate(graph, constants, x).map((y) => [...y])", [asdict(graph), x.tolist()]
        )
    with torch.no_grad():
        assert_same([torch.tensor(y) for y in found], [part(x) for part in chosen], "float32")


def test_pages_know_every_operation_that_is_written_to_them():
    known = (FOLDER / "run.js").read_text()
    elementwise = {*operations._UNARY, *operations._BINARY, *operations._WITH_NUMBERS, *operations._REDUCTIONS}
    for name in {*elementwise, *operations._ALSO.values(), "trunc", "gelu"} - {*operations._ALSO, "bitwise_not"}:
        assert re.search(rf"\b{name}(:|,)", known), name


def test_the_code_of_a_flow_is_what_the_flow_makes_of_its_noise():
    pair = vae(guide="flow")
    x, pairs = torch.rand(1, *SHAPE).round(), noise_in_pairs(4)
    with torch.no_grad():
        q = pair.guide.posterior(x)
        mean, deviation, *_ = encoded(pair.model, pair.guide, pairs, x)
        draws = q.sample([20_000])
    assert torch.allclose(mean, draws.mean(0), atol=0.3 * float(deviation.max()))
    assert torch.allclose(deviation, draws.std(0), rtol=0.3)
    assert not torch.allclose(mean, q.base_dist.mean, atol=0.01)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_a_page_computes_the_numbers_of_a_flow(browser, tmp_path, precision):
    flows = [
        flip_realnvp(SHAPE, pairs=1, hidden=[20]),
        masked_realnvp(SHAPE, layers=2, hidden=[20]),
        image_realnvp(SHAPE, channels=4, blocks=1, outer=1, squeezed=1, inner=1),
        multiscale_realnvp(SHAPE, channels=4, blocks=1, couplings=1, last=1),
    ]
    flows = flows[1:] if precision == "float32" else flows[:1]
    pairs = [Pair(FlowModel(randomise(flow, 0.1), levels=17), UniformDequantizer(17), {}, 1) for flow in flows]
    grey = Images("noise", images().pixels, levels=17)
    file = written(tmp_path, pairs, grey, precision)
    noise, y = torch.randn(1, 64), torch.rand(1, *SHAPE)
    with opened(browser, file) as page, torch.no_grad():
        for i, flow in enumerate(flows):
            assert_same(results(page, i, "forward", noise), flow().from_base_with_log_det(noise), precision)
            assert_same(results(page, i, "inverse", y), flow().to_base(y), precision)


def test_a_page_computes_the_numbers_of_a_flow_of_labels(browser, tmp_path):
    flow = FlowModel(randomise(flip_realnvp((1, 4, 4), pairs=1, hidden=[20], context=3), 0.1), 5, num_classes=3)
    file = written(tmp_path, [Pair(flow, UniformDequantizer(5), {}, 1)], LABELLED)
    noise, y, label = torch.randn(1, 16), torch.rand(1, 1, 4, 4), torch.tensor([2])
    with opened(browser, file) as page, torch.no_grad():
        p = flow.intensities(label)
        assert_same(results(page, 0, "forward", noise, label), p.from_base_with_log_det(noise), "float32")
        assert_same(results(page, 0, "inverse", y, label), p.to_base(y), "float32")


PLANES = {
    "affine": lambda: vector_realnvp(2, couplings=2, hidden=[20]),
    "mixtures": lambda: vector_realnvp(2, couplings=1, hidden=[4], components=2),
    "splines": lambda: ZukoFlow(2, "NSF", 1, [4]),
}


@pytest.mark.parametrize("kind", PLANES)
def test_a_page_computes_the_steps_of_a_flow_over_the_plane(browser, tmp_path, kind):
    torch.manual_seed(0)
    flow = randomise(PLANES[kind]())
    data = Vectors("points", torch.randn(300, 2))
    file = written(tmp_path, [Pair(DensityModel(flow), NoLatents(), {}, 1)], data)
    points = torch.randn(256, 2)
    with opened(browser, file) as page, torch.no_grad():
        for direction, back in (("forward", False), ("inverse", True)):
            code = "([way, all]) => mapped(content.runs[0], content.runs[0].steps[%d], way, all)"
            expected, before = stops(flow(), back, points), points
            count = len(expected) // 2
            for i in range(count):
                step = count - 1 - i if back else i
                found = torch.tensor(page.evaluate(code % step, [direction, before.tolist()]))
                before = expected[2 * i]
                assert_same([found[:, :2].flatten(), found[:, 2]], [before, expected[2 * i + 1]], "float32")
        assert page.evaluate("behind(content.runs[0], [[0.5, -0.5]])[0]") == pytest.approx(
            [part for x in flow().to_base(torch.tensor([0.5, -0.5])) for part in x.flatten().tolist()], abs=1e-4
        )


def test_a_page_computes_a_density_of_labels(browser, tmp_path):
    flow = DensityModel(randomise(vector_realnvp(2, couplings=2, hidden=[20], context=3)), num_classes=3)
    data = Vectors("points", torch.randn(30, 2), torch.arange(30) % 3, conditional=True)
    file = written(tmp_path, [Pair(flow, NoLatents(), {}, 1)], data)
    point = torch.tensor([[0.5, -0.5]])
    for label in (0, 2):
        with opened(browser, file, f"#label={label}") as page, torch.no_grad():
            x, y, log_det = page.evaluate("behind(content.runs[0], [[0.5, -0.5]])[0]")
            noise, expected = flow.density(torch.tensor([label])).to_base(point)
            assert_same([torch.tensor([x, y]), torch.tensor([log_det])], [noise, expected], "float32")


@pytest.fixture(scope="module")
def two_vaes(tmp_path_factory):
    """A page of two runs whose strings are an attack."""
    return written(tmp_path_factory.mktemp("vaes"), [vae(), vae("vamp")], images(HOSTILE), name=HOSTILE)


def test_bounds_and_sample_sizes_of_a_page_are_those_of_inference(browser, two_vaes):
    log_w = 3 * torch.randn(60, 1)
    with opened(browser, two_vaes) as page:
        for m in (1, 7, 60):
            assert page.evaluate("([w, m]) => bound(w, m)", [log_w[:, 0].tolist(), m]) == pytest.approx(
                float(iwae_bound(log_w, m)), abs=1e-4
            )
        size = page.evaluate("(w) => effectiveSize(w)", log_w[:, 0].tolist())
        assert size == pytest.approx(60 * float(effective_sample_share(log_w)), rel=1e-4)


def test_no_coordinate_lies_outside_the_chart_of_a_posterior(browser, two_vaes):
    heights = """([means, deviations]) => {
        const found = [], chart = canvas(320, 120, "");
        window.paintLine = (target, at, points) => found.push(...points.map(([, y]) => at.y(y)));
        paintPosterior(chart, means, deviations);
        return found;
    }"""
    with opened(browser, two_vaes) as page:
        found = page.evaluate(heights, [[0.0, 6.5, -9.2], [1.0, 0.5, 1.0]])
    assert len(found) == 6
    assert all(0 <= y <= 120 for y in found)


def test_dragging_and_keys_move_the_code_of_every_run(browser, two_vaes):
    with opened(browser, two_vaes) as page:
        pictures = "[...document.querySelectorAll('.map + .picture')].map((image) => image.toDataURL())"
        before = page.evaluate(pictures)
        box = page.locator(".map").first.bounding_box()
        page.mouse.move(box["x"] + 30, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 200, box["y"] + 60, steps=3)
        page.mouse.up()
        page.wait_for_timeout(500)
        after = page.evaluate(pictures)
        assert all(one != other for one, other in zip(before, after, strict=True))
        address = page.url
        assert "z=" in address
        place = page.evaluate("state.z[0]")
        page.locator(".map").last.press("ArrowRight")
        page.wait_for_timeout(50)
        assert page.evaluate("state.z[0]") == pytest.approx(place + 0.1)
    with opened(browser, two_vaes, f"#{address.partition('#')[2]}") as page:
        assert page.evaluate(pictures) == after


def test_a_timed_drag_redraws_the_map_once_a_frame(browser, two_vaes):
    from dragging import DRAG

    with opened(browser, two_vaes) as page:
        found = page.evaluate(DRAG, 5)
        assert found["drawn"] == 5
        assert page.evaluate("state.z.some((value) => value !== 0)")


def test_the_moving_picture_is_small_and_shown(tmp_path, monkeypatch):
    import explore_picture
    from PIL import Image

    file = ROOT / "results" / "explore.webp"
    assert file.stat().st_size < 1_000_000
    with Image.open(file) as picture:
        assert picture.n_frames >= 24
    assert f'<img src="results/{file.name}"' in (ROOT / "README.md").read_text()
    monkeypatch.setattr(explore_picture, "LARGEST", 10)
    with pytest.raises(ValueError, match="take fewer --frames"):
        explore_picture.write([Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")], tmp_path / "a.webp", 15)
    assert not list(tmp_path.iterdir())


def test_a_drawn_image_is_encoded_and_its_bound_rises(browser, two_vaes):
    with opened(browser, two_vaes) as page:
        before = page.evaluate("[...outputs(content.runs[0], 'encode', observed(content.runs[0]))[0]]")
        page.locator(".pad").scroll_into_view_if_needed()
        box = page.locator(".pad").bounding_box()
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 100, box["y"] + 100, steps=4)
        page.mouse.up()
        assert page.evaluate("observed(content.runs[0]).reduce((a, b) => a + b)") >= 8
        assert page.evaluate("[...outputs(content.runs[0], 'encode', observed(content.runs[0]))[0]]") != before
        page.get_by_role("button", name="draw 500 weights").click()
        words = page.locator("[role=status]").first
        words.filter(has_text="of 500 draws").wait_for()
        said = words.inner_text().replace("\u2212", "-")
        one, many = (float(re.search(rf"{name} (-[0-9.]+) nats", said)[1]) for name in ("ELBO", r"L\(500\)"))
        assert many > one


def test_an_observation_is_chosen_by_its_number_and_shown_with_its_label(browser, tmp_path):
    with opened(browser, written(tmp_path, [vae()], images())) as page:
        page.get_by_text("observation no.").click()  # the words press no button
        assert page.evaluate("state.picture") == 0
        page.get_by_role("button", name="next: observation no.").click()
        page.locator("figure", has_text="observation x").filter(has_text="label 1").wait_for()
        page.locator(".pad").click()
        page.locator("figure", has_text="observation x").filter(has_text="your drawing").wait_for()
        assert page.get_by_label("across").locator("option:checked").inner_text() == page.evaluate(
            "`z${content.runs[0].order[0] + 1}, no. 1 by activity`"
        )


def test_a_played_flow_stops_when_the_slider_moves(browser, tmp_path):
    flow = DensityModel(vector_realnvp(2, couplings=4, hidden=[4]))
    file = written(tmp_path, [Pair(flow, NoLatents(), {}, 1)], Vectors("points", torch.randn(300, 2)))
    with opened(browser, file) as page:
        code = """() => {
            let next;
            window.setTimeout = (step) => (next = step);
            advance(0, 4);
            next();
            const played = state.step;
            update({ step: 2 });
            next();
            return [played, state.step];
        }"""
        assert page.evaluate(code) == [0.1, 2]


def test_test_data_of_the_chosen_class_lie_under_the_draws(browser, tmp_path):
    flow = DensityModel(randomise(vector_realnvp(2, couplings=2, hidden=[20], context=3)), num_classes=3)
    points = torch.randn(30, 2)
    file = written(
        tmp_path,
        [Pair(flow, NoLatents(), {}, 1)],
        Vectors("points", points, torch.arange(30) % 3, conditional=True),
    )
    with opened(browser, file, "#label=2") as page:
        found = page.evaluate("testData(content.runs[0]).map((point) => [...point])")
    assert torch.tensor(found).allclose(points[2::3])


def test_strings_of_a_run_execute_nothing(browser, two_vaes):
    with opened(browser, two_vaes) as page:
        assert page.title() == "a title"
        assert HOSTILE in page.locator("#summary").inner_text()
        assert page.locator("script").count() == 2
        policy = page.locator("meta[http-equiv]").get_attribute("content")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "address",
    [
        "axes=0",
        "axes=99,99",
        "z=1e99,7",
        "z=,",
        "picture=-3&first=-1&second=1e99",
        "weights=1e9",
        "step=-2",
        "label=-1",
    ],
)
def test_no_address_breaks_a_page(browser, two_vaes, address):
    with opened(browser, two_vaes, f"#{address}") as page:
        page.evaluate("new Promise((done) => requestAnimationFrame(done))")
        assert "NaN" not in page.locator("body").inner_text()
        assert page.evaluate("state.weights") <= 500
        assert page.evaluate("state.axes.length") == 2
        assert page.evaluate("Math.min(state.picture, state.first, state.step, state.label)") >= 0


def test_every_section_links_its_chapters(browser, two_vaes):
    with opened(browser, two_vaes) as page:
        assert all("Chapter" in words for words in page.locator(".about").all_inner_texts())
        code = "all => all.map((a) => [a.textContent, a.getAttribute('href')])"
        found = page.eval_on_selector_all(".chapter a", code)
    expected = [tuple(chapter_on(chapter, two_vaes).values()) for chapter in CHAPTERS]
    assert len(found) == 6
    assert {tuple(link) for link in found} <= set(expected)


# words that only stand beside a quantity's link, and no number without a unit
MEASURED = r"\bnats\b|\bbits\b|\bKL\b|ELBO|L\(|effective sample|log-d|temperature|no unit"


def collapsed():
    pair = vae()
    for weights in pair.guide.encoder.parameters():
        weights.data.zero_()
    return pair


def pages_of_every_kind(folder):
    flow = FlowModel(flip_realnvp(SHAPE, pairs=1, hidden=[20]), levels=17)
    density = DensityModel(vector_realnvp(2, couplings=2, hidden=[20]))
    yield [vae(), vae(guide="flow"), collapsed()], images()
    yield [small_vae(GaussianVectors((5,)), shape=(5,))], Vectors("points", POINTS)
    yield [Pair(flow, UniformDequantizer(17), {}, 1)], Images("noise", images().pixels, levels=17)
    yield [Pair(density, NoLatents(), {}, 1)], Vectors("points", torch.randn(300, 2))


def test_every_quantity_has_its_unit_and_its_chapter(browser, tmp_path):
    for pairs, data in pages_of_every_kind(tmp_path):
        with opened(browser, written(tmp_path, pairs, data)) as page:
            page.wait_for_timeout(200)
            if len(pairs) == 3:
                said = page.locator("summary").all_inner_texts()
                assert [": this code says nothing about the observation" in words for words in said] == [
                    False,
                    False,
                    True,
                ]
            code = """all => all.map((e) => [e.textContent, e.querySelector(".name").getAttribute("href")])"""
            found = page.eval_on_selector_all(".quantity", code)
            units = page.evaluate("Object.keys(QUANTITIES).map((key) => unitOf(key))")
            assert len(found) >= 3
            for words, address in found:
                assert any(words.endswith(unit) for unit in units), words
                assert "undefined" not in words
                assert (tmp_path / address).is_file(), words
            page.evaluate(
                "document.querySelectorAll('.quantity, .about, .chapter, script, style').forEach((e) => e.remove())"
            )
            left = page.evaluate("document.body.textContent")
            assert not re.search(MEASURED, left), left


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_does_not_scroll_sideways_and_every_control_has_a_name(browser, two_vaes, scheme):
    with opened(browser, two_vaes, viewport={"width": 390, "height": 800}, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        unnamed = "[...document.querySelectorAll('input, select, canvas')].filter((e) => !e.getAttribute('aria-label'))"
        assert page.evaluate(f"{unnamed}.length") == 0


@pytest.fixture
def logged():
    """What torch logs of operations that do not fit; it writes past pytest's capture."""
    records, handler = [], logging.Handler()
    handler.emit = records.append
    log = logging.getLogger("torch._subclasses.fake_tensor")
    log.addHandler(handler)
    yield records
    log.removeHandler(handler)


def test_an_unknown_operation_is_named_in_one_line(logged):
    class Sorted(torch.nn.Module):
        def forward(self, z):
            return torch.cumprod(z, -1)

    with pytest.raises(RunError, match="computes cumprod, which pages do not know") as caught:
        exported(Sorted(), [], [torch.zeros(1, 3)], Constants())
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match="torch.export stops at: .*same reduction dim"):
        exported(lambda z: z @ torch.zeros(2, 2), [], [torch.zeros(1, 3)], Constants())
    assert logged == []
    pair = vae()
    pair = Pair(pair.model, SemiAmortizedGuide(pair.guide.encoder, 4, pair.model), {}, 1)
    with pytest.raises(RunError, match="cannot be put on a page|do not know") as caught:
        run_content("run", pair, images(), Constants())
    assert "\n" not in str(caught.value)


def hopeless(kind):
    if kind == "pixels":
        return small_vae(PixelCNNPixels((1, 4, 4), channels=4, blocks=1)), images()
    if kind == "levels":
        model = TwoLevelVAE(StandardNormal(2), MLPDecoder(3, SHAPE), 3, 2)
        return Pair(model, TwoLevelGuide(MLPEncoder(SHAPE), 3, 2), {}, 1), images()
    pair = vae()
    next(pair.model.decoder.parameters()).data[0] = torch.nan
    return pair, images()


@pytest.mark.parametrize(
    ("kind", "words"),
    {
        "pixels": "PixelCNNPixels of this run have none in closed form",
        "levels": "explore shows models with one code; a run has a TwoLevelVAE",
        "weights": "a run cannot be put on a page: its weights decoder.* hold NaN or infinity",
    }.items(),
)
def test_what_a_page_cannot_show_is_said_in_one_line(kind, words):
    pair, data = hopeless(kind)
    with pytest.raises(RunError, match=words) as caught:
        run_content("a run", pair, data, Constants())
    assert "\n" not in str(caught.value)


def test_runs_of_other_kinds_or_shapes_do_not_go_side_by_side():
    first = {"name": "a", "kind": "vae", "shape": [1, 8, 8]}
    check_side_by_side([first, first])
    with pytest.raises(RunError, match=r"data of one shape; got \(1, 8, 8\) and \(5,\)"):
        check_side_by_side([first, {**first, "shape": [5]}])
    with pytest.raises(RunError, match="side by side go runs of one kind.*; a and b are not"):
        check_side_by_side([first, {**first, "name": "b", "kind": "flow"}])


def test_a_page_replaces_pages_alone(tmp_path, two_vaes):
    own = tmp_path / "thesis.html"
    own.write_text("mine")
    with pytest.raises(ValueError, match="not a page of this command"):
        explore(["nowhere"], ExploreOptions(out=str(own)))
    assert own.read_text() == "mine"
    assert not is_page(own)
    assert is_page(two_vaes)
    assert len(rendered("", [], Constants(), own)) < 60_000


def test_an_address_of_the_hub_is_fetched_once_and_a_failure_leaves_the_page(tmp_path, monkeypatch):
    run = train_vae(
        TrainVAEOptions(dataset="wine", latent_dim=2, epochs=1, compile="off", out=str(tmp_path / "run"))
    ).path
    asked = []
    monkeypatch.setattr(hub, "fetched", lambda address: asked.append(address) or run)
    page = explore(["hf://me/wine"], ExploreOptions(out=str(tmp_path / "page.html")))
    assert asked == ["hf://me/wine"]
    before = page.read_bytes()
    assert b"hf://me/wine" in before
    weights = run / "checkpoints" / "last.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="damaged"):
        explore(["hf://me/wine"], ExploreOptions(out=str(page)))
    assert page.read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))
