"""The programs of tutorial/ compute what the packages compute: same weights, same draws, same numbers."""

import math
import re
import sys

import pyro
import pytest
import torch
from conftest import ROOT, randomise
from torch import nn

sys.path.insert(0, str(ROOT / "tutorial"))

import realnvp
import vae as vae_program

from inference import ELBOWithTerms, Trace_ELBO, iwae_bound, load_dataset, log_weights
from pyro_models import (
    VAE,
    AffineCoupling,
    DensityModel,
    Flip,
    Flow,
    FlowModel,
    MeanFieldGuide,
    NoLatents,
    StandardNormal,
    UniformDequantizer,
    flip_realnvp,
)

IMAGES = torch.arange(6 * 64).reshape(6, 1, 8, 8) * 7 % 17


def loss_of(program, x) -> float:
    """The first loss that Pyro's SVI reports, per observation; the step leaves the weights alone."""
    pyro.set_rng_seed(1)
    still = pyro.optim.SGD({"lr": 0.0})
    return pyro.infer.SVI(program.model, program.guide, still, pyro.infer.Trace_ELBO()).step(x) / len(x)


def assert_same_loss(program, model, guide, x):
    """The loss of a one-file program is that of a pair of the packages."""
    pyro.set_rng_seed(1)
    loss, _ = ELBOWithTerms(Trace_ELBO(), model, guide)(x)
    assert loss_of(program, x) == pytest.approx(loss.item(), abs=1e-5, rel=1e-6)


def package_vae(program) -> tuple[nn.Module, nn.Module]:
    """The program's networks as parts of the packages: all layers but the last are the encoder."""
    *encoder, head = program.encoder
    encoder = nn.Sequential(*encoder)
    encoder.out_features = head.in_features
    guide = MeanFieldGuide(encoder, program.latent_dim)
    guide.head = head
    return VAE(StandardNormal(program.latent_dim), program.decoder), guide


def test_the_vae_has_the_loss_and_bound_of_the_packages():
    program, x = randomise(vae_program.VAE((1, 8, 8), latent_dim=3, hidden=20)), vae_program.binarise(IMAGES)
    pair = package_vae(program)
    assert_same_loss(program, *pair, x)
    log_weights(*pair, x, 1)  # its checks of a new pair draw numbers
    ours, theirs = (
        (pyro.set_rng_seed(2), find(*programs, x, 7))[1]
        for find, programs in ((vae_program.log_weights, [program]), (log_weights, pair))
    )
    bound = vae_program.importance_weighted_bound(ours)
    torch.testing.assert_close(bound, iwae_bound(theirs, 7), rtol=1e-6, atol=1e-5)


def test_the_vae_steps_as_pyro_does_with_the_packages():
    x = vae_program.binarise(IMAGES)
    halves = []
    for pair in (lambda program: (program.model, program.guide), package_vae):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        program = vae_program.VAE((1, 8, 8), latent_dim=3, hidden=20)
        model, guide = pair(program)
        pyro.set_rng_seed(0)
        svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), pyro.infer.Trace_ELBO())
        halves.append([svi.step(x) for _ in range(5)])
    assert halves[0] == pytest.approx(halves[1], rel=1e-5)


def test_realnvp_on_vectors_has_the_density_of_the_packages(float64):
    program = randomise(realnvp.RealNVP(size=4, pairs=3, hidden=10))
    steps = [step for coupling in program.couplings for step in (AffineCoupling(coupling.network), Flip())]
    flow, x = Flow(steps, 4), torch.randn(5, 4)
    torch.testing.assert_close(program.flow().log_prob(x), flow().log_prob(x))
    assert_same_loss(program, DensityModel(flow), NoLatents(), x)


def test_realnvp_on_images_has_the_loss_and_bound_of_the_packages(float64):
    program = randomise(realnvp.RealNVP(size=64, levels=17, pairs=4, hidden=10), 0.1)
    flow = flip_realnvp((64,), pairs=4, hidden=[10, 10], alpha=0.0)
    couplings = [step for step in flow.transforms if isinstance(step, AffineCoupling)]
    for theirs, ours in zip(couplings, program.couplings, strict=True):
        theirs.conditioner = ours.network
    pair, x = (FlowModel(flow, 17), UniformDequantizer(17)), IMAGES.flatten(1).double()
    assert_same_loss(program, *pair, x)
    log_weights(*pair, x, 1)  # its checks of a new pair draw numbers
    pyro.set_rng_seed(2)
    theirs = iwae_bound(log_weights(*pair, x, 7), 7)
    pyro.set_rng_seed(2)
    torch.testing.assert_close(realnvp.importance_weighted_bound(program, x, 7), theirs)


def test_a_coupling_and_its_inverse(float64):
    coupling, x = randomise(realnvp.Coupling(6, hidden=10)), torch.randn(6)
    y = coupling(x)
    torch.testing.assert_close(coupling.inv(y), x)
    jacobian = torch.autograd.functional.jacobian(coupling, x)
    torch.testing.assert_close(coupling.log_abs_det_jacobian(x, y), jacobian.slogdet().logabsdet)


@pytest.mark.parametrize("arguments", [["moons", "1"], ["digits", "1"]])
def test_realnvp_prints_its_losses_and_a_picture(arguments, capsys, monkeypatch):
    monkeypatch.setattr(realnvp, "load_dataset", lambda name: [part.take(slice(400)) for part in load_dataset(name)])
    realnvp.run(arguments)
    size, height, names = {
        "moons": (2, 21, ["training set: negative ELBO", "test set: negative ELBO"]),
        "digits": (64, 32, ["training set: negative ELBO", "test set: negative ELBO", "test set: .* IWAE, m = 50,"]),
    }[arguments[0]]
    lines = capsys.readouterr().out.splitlines()
    losses = []
    for name, line in zip(names, lines, strict=False):
        nats, bits = re.fullmatch(rf"{name} ([\d.]+) nats per obs.*, ([\d.]+) bits per dim.*", line).groups()
        assert float(bits) == pytest.approx(float(nats) / (size * math.log(2)), abs=1e-3)
        losses.append(float(nats))
    assert losses[1:] == sorted(losses[1:], reverse=True)
    picture = lines[len(names) :]
    assert len(picture) == height
    assert "".join(picture).strip()


def test_the_vae_prints_its_bounds_in_order_and_sixteen_digits(capsys):
    vae_program.main(epochs=2)
    out = capsys.readouterr().out
    elbo, iwae = (float(re.search(rf"test images.*{name} ([\d.]+)", out, flags=re.S)[1]) for name in ("ELBO", "IWAE"))
    assert iwae < elbo < 45
    assert len(out.splitlines()) == 3 + 4 * 8


@pytest.mark.parametrize(
    ("module", "arguments"),
    [(vae_program, ["0"]), (vae_program, ["foo"]), (realnvp, ["sheep"]), (realnvp, ["moons", "0"])],
)
def test_bad_arguments_get_one_line(module, arguments):
    with pytest.raises(SystemExit, match="at least 1"):
        module.run(arguments)


def test_they_fit_on_a_few_screens_and_need_only_torch_pyro_and_the_data():
    for name in ("vae", "realnvp"):
        lines = (ROOT / "tutorial" / f"{name}.py").read_text().splitlines()
        assert len(lines) <= 150
        imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
        assert imported <= {"math", "sys", "pyro", "torch", "inference"}
        assert [line for line in lines if "inference" in line] == ["from inference import load_dataset"]
