"""What a report and a picture of samples show of pairs and data of every kind."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn

from inference import Images, Pair, Run, Settings, Vectors, binarise, fit, load_dataset, standardise
from inference.figures.style import written
from inference.system.devices import find_device
from pyro_models import (
    VAE,
    DensityModel,
    GaussianVectors,
    MeanFieldGuide,
    MLPDecoder,
    MLPEncoder,
    NoLatents,
    StandardNormal,
    vector_realnvp,
)
from pyro_models_cli.commands import sample as sample_command
from pyro_models_cli.commands.sample import SampleOptions, sample
from pyro_models_cli.data import Data
from pyro_models_cli.report import density_section, flow_section, vae_section  # noqa: F401  (these register sections)
from pyro_models_cli.report.run_data import RunData
from pyro_models_cli.report.sections import Figure, Section, section

CONFIG = {
    "dataset": "points",
    "seed": 0,
    "batch_size": 50,
    "lr": 1e-3,
    "schedule": "constant",
    "latent_dim": 2,
    "objective": {"class_path": "pyro.infer.Trace_ELBO", "init_args": {}},
}


class OwnModel(nn.Module):
    """A user's own model of data of any shape: z ~ N(0, I), logits or means linear in z."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.decoder = nn.Linear(2, int(np.prod(shape)))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("code", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            out = self.decoder(z).unflatten(-1, self.shape)
            p = dist.Bernoulli(logits=out) if len(self.shape) == 3 else dist.Normal(out, 1.0)
            pyro.sample("seen", p.to_event(len(self.shape)), obs=x)


class OwnGuide(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 2))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("code", dist.Normal(self.encoder(x), 0.5).to_event(1))


def vectors(size: int, labels: bool = True) -> tuple[Vectors, ...]:
    values = 50 + 9 * torch.randn(120, size)
    kinds = (values[:, 0] > 50).long() if labels else None
    whole = Vectors("points", values, kinds)
    return standardise(whole.take(slice(100)), whole.take(slice(100, None)))


def images() -> tuple[Images, ...]:
    """Digits without labels."""
    grey = (data.take(slice(60)) for data in load_dataset("digits"))
    return tuple(binarise(Images(data.name, data.pixels, levels=data.levels), "dynamic") for data in grey)


def vae(shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    likelihood = GaussianVectors(shape) if len(shape) == 1 else None
    model = VAE(StandardNormal(2), MLPDecoder(2, shape, [8]), likelihood)
    return model, MeanFieldGuide(MLPEncoder(shape, [8]), latent_dim=2)


def section_of(folder: Path, model: nn.Module, guide: nn.Module, train, test, record: dict | None = None) -> Section:
    """The section on a new run of one epoch."""
    run = Run.create(folder / "run", CONFIG, {"model": {}, "guide": {}})
    fit(model, guide, train, test, Settings(epochs=1, device="cpu"), run=run)
    if record is not None:
        (run.path / "evaluation.json").write_text(json.dumps(record))
    return section(model.eval(), Pair(model, guide.eval(), CONFIG, 1.0), run, RunData(train, test))


def names(content: Section) -> list[str]:
    return [block.name for block in content.blocks if block.kind == "figure"]


CURVES_OF_VAE = ["vae_curves", "vae_curves_last_batch"]
FIGURES_OF_VAE = [*CURVES_OF_VAE, "vae_samples", "vae_reconstructions", "vae_interpolation", "vae_traversal"]


def assert_type_is_of_one_size(block: Figure, folder: Path) -> None:
    """Type in points, times the scale that the figure is shown at, is the same wherever there is type."""
    shown = block.render(1, folder / "report.html")
    inches, _ = block.figure.get_size_inches()
    texts = written(block.figure)
    assert shown["has_type"] == bool(texts), "only without type may a narrow screen make a figure smaller"
    sizes = [text.get_fontsize() * shown["width"] / (96 * inches) for text in texts]
    assert sizes == pytest.approx([10.0] * len(texts), rel=0.002)
    assert not texts or shown["width"] <= 54 * 16, "figures fit the page, which is 54rem wide"


def test_a_figure_with_type_is_never_scaled():
    page = (ROOT / "pyro_models_cli" / "report" / "report.html").read_text()
    assert "max-width: 54rem" in page
    assert "figure .scroll img { max-width: none; }" in page
    assert 'width="{{ block.width }}"' in page


@pytest.mark.parametrize("tested", [True, False])
@pytest.mark.parametrize(
    ("make", "pair", "title", "figures"),
    [
        (lambda: vectors(2), lambda: (DensityModel(vector_realnvp(2, 2, [8])), NoLatents()), "Flow", ["density"]),
        (
            lambda: vectors(8, labels=False),
            lambda: (DensityModel(vector_realnvp(8, 2, [8])), NoLatents()),
            "Flow",
            ["marginals", "pairs"],
        ),
        (lambda: vectors(2), lambda: vae((2,)), "Variational autoencoder", ["density", "latent_z"]),
        (lambda: vectors(4), lambda: vae((4,)), "Variational autoencoder", ["marginals", "pairs", "latent_z"]),
        (lambda: vectors(1), lambda: vae((1,)), "Variational autoencoder", ["marginals", "latent_z"]),
        (
            lambda: vectors(3),
            lambda: (OwnModel((3,)), OwnGuide((3,))),
            "OwnModel",
            ["marginals", "pairs", "latent_code"],
        ),
        (images, lambda: (OwnModel((1, 8, 8)), OwnGuide((1, 8, 8))), "OwnModel", ["samples", "reconstructions"]),
        (images, lambda: vae((1, 8, 8)), "Variational autoencoder", FIGURES_OF_VAE),
    ],
)
def test_every_pair_and_every_data_set_has_a_section(tmp_path, make, pair, title, figures, tested):
    train, test = make()
    content = section_of(tmp_path, *pair(), train, test if tested else None)
    assert content.title == f"{title} on {'digits' if make is images else 'points'}"
    assert names(content) == (figures if figures is FIGURES_OF_VAE else ["curves", *figures])
    told = " ".join([content.summary, *(block.caption for block in content.blocks), *content.assumptions])
    assert ("There is no test set" in told) == (not tested)
    assert ("standardised" in told) == (make is not images)
    if not tested:
        assert "test vector" not in told.replace("no test vector", "")
        assert "test image" not in told.replace("no test image", "")
    for number, block in enumerate(content.blocks):
        assert block.render(number, tmp_path / "report.html")["data"]
        assert_type_is_of_one_size(block, tmp_path)


ESTIMATE = {"value": 1.5, "standard_error": None, "standard_error_over_images": 0.1}
RECORD = {
    "epochs": 1,
    "negative_elbo": ESTIMATE,
    "negative_iwae": {"1": ESTIMATE, "5": ESTIMATE},
    "binarisation": None,
    "num_test_images": 20,
    "repeats": 1,
}


def test_the_table_of_bounds_is_in_the_unit_of_the_data(tmp_path):
    content = section_of(tmp_path, *vae((3,)), *vectors(3), RECORD)
    (table,) = [block for block in content.blocks if block.kind == "table"]
    assert table.header == ["bound", "nats per vector", "± repeats", "± vectors"]
    assert table.rows[0] == ["negative ELBO (m = 1)", "1.500", "-", "0.100"]
    assert table.rows[1] == ["negative IWAE, m = 5", "1.500", "-", "0.100"]
    assert "20 test vectors: one repeat, with standard errors over vectors" in table.caption


def test_the_log_likelihood_of_a_model_without_latents_is_one_row(tmp_path):
    model = DensityModel(vector_realnvp(3, 2, [8]))
    content = section_of(tmp_path, model, NoLatents(), *vectors(3), {**RECORD, "exact": True})
    (table,) = [block for block in content.blocks if block.kind == "table"]
    assert table.rows == [["negative log p(x)", "1.500", "0.100"]]
    assert "20 test vectors, exact" in table.caption


@pytest.fixture
def drawn_run(tmp_path, monkeypatch):
    """A function that makes ``sample`` see a pair and its data as those of a run."""

    def make(model: nn.Module, guide: nn.Module, *data) -> Path:
        pair = Pair(model.eval(), guide, CONFIG, 1.0)
        monkeypatch.setattr(sample_command, "load_pair", lambda run, options: (pair, find_device("cpu")))
        monkeypatch.setattr(sample_command.Run, "open", lambda path: SimpleNamespace(config={}))
        monkeypatch.setattr(sample_command, "data_again", lambda run, options: Data(*data, {"classes": None}, []))
        return tmp_path / "run"

    return make


@pytest.mark.parametrize("kind", [".npy", ".csv"])
def test_sampled_vectors_are_written_in_the_units_of_the_data(drawn_run, tmp_path, capsys, kind):
    run = drawn_run(DensityModel(vector_realnvp(2, 2, [8])), NoLatents(), *vectors(2))
    file = tmp_path / f"draws{kind}"
    picture = sample(run, SampleOptions(num_samples=300, out=str(file)))
    assert picture == run / "figures" / "samples.png"
    assert capsys.readouterr().out.splitlines() == [str(picture), str(file)]
    found = np.load(file) if kind == ".npy" else np.loadtxt(file, delimiter=",", skiprows=1)
    assert found.shape == (300, 2)
    assert found.mean(0) == pytest.approx(50, abs=3)
    again = sample(run, SampleOptions(num_samples=300, out=str(tmp_path / "again.npy")))
    assert np.allclose(np.load(tmp_path / "again.npy"), found)
    assert again.read_bytes()[:4] == b"\x89PNG"


def test_images_have_no_table(drawn_run, tmp_path):
    run = drawn_run(*vae((1, 8, 8)), *images())
    with pytest.raises(ValueError, match=r"draws\.npy is for vectors, but this run draws images"):
        sample(run, SampleOptions(out=str(tmp_path / "draws.npy")))
    assert sample(run, SampleOptions(num_samples=4)).is_file()
    assert not (tmp_path / "draws.npy").exists()


def test_a_users_own_model_of_images_is_sampled_too(drawn_run):
    run = drawn_run(OwnModel((1, 8, 8)), OwnGuide((1, 8, 8)), *images())
    assert sample(run).read_bytes()[:4] == b"\x89PNG"
