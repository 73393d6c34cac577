"""The programs of tutorial/ compute what the packages compute: same weights, same draws, same numbers."""

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

from inference import ELBOWithTerms, Trace_ELBO, iwae_bound, log_weights
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


def weights_of(find, *arguments):
    pyro.set_rng_seed(2)
    return find(*arguments)


def assert_same(program, module, model, guide, x, m, shift=0.0):
    """Loss and bound of a one-file program are those of a pair of the packages."""
    pyro.set_rng_seed(1)
    loss, _ = ELBOWithTerms(Trace_ELBO(), model, guide)(x)
    assert loss_of(program, x) == pytest.approx(loss.item(), abs=1e-5, rel=1e-6)
    log_weights(model, guide, x, 1)  # its checks of a new pair draw numbers
    ours, theirs = (
        weights_of(*call) for call in ((module.log_weights, program, x, m), (log_weights, model, guide, x, m))
    )
    bound = module.importance_weighted_bound(ours.expand(m, len(x)))
    torch.testing.assert_close(bound, iwae_bound(theirs, m), rtol=1e-6, atol=1e-5)


def package_vae(program) -> tuple[nn.Module, nn.Module]:
    """The program's networks as parts of the packages: all layers but the last are the encoder."""
    *encoder, head = program.encoder
    encoder = nn.Sequential(*encoder)
    encoder.out_features = head.in_features
    guide = MeanFieldGuide(encoder, program.latent_dim)
    guide.head = head
    return VAE(StandardNormal(program.latent_dim), program.decoder), guide


def test_the_vae_has_the_loss_and_bound_of_the_packages():
    program = randomise(vae_program.VAE((1, 8, 8), latent_dim=3, hidden=20))
    assert_same(program, vae_program, *package_vae(program), vae_program.binarise(IMAGES), m=7)


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


class Halves(nn.Module):
    """A network of the program as the conditioner of a coupling."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, a):
        return self.network(a).chunk(2, dim=-1)


def test_realnvp_on_vectors_has_the_density_of_the_packages(float64):
    program = randomise(realnvp.RealNVP(size=4, pairs=3, hidden=10))
    steps = [step for coupling in program.couplings for step in (AffineCoupling(Halves(coupling.network)), Flip())]
    assert_same(program, realnvp, DensityModel(Flow(steps, 4)), NoLatents(), torch.randn(5, 4), m=1)


def test_realnvp_on_images_has_the_loss_and_bound_of_the_packages(float64):
    program = randomise(realnvp.RealNVP(size=64, levels=17, pairs=4, hidden=10), 0.1)
    flow = flip_realnvp((64,), pairs=4, hidden=[10, 10])
    couplings = [step for step in flow.transforms if isinstance(step, AffineCoupling)]
    for theirs, ours in zip(couplings, program.couplings, strict=True):
        theirs.conditioner = Halves(ours.network)
    x = IMAGES.flatten(1).double()
    assert_same(program, realnvp, FlowModel(flow, 17), UniformDequantizer(17), x, m=7)


def test_a_coupling_and_its_inverse(float64):
    coupling, x = randomise(realnvp.Coupling(6, hidden=10)), torch.randn(6)
    y = coupling(x)
    torch.testing.assert_close(coupling.inv(y), x)
    jacobian = torch.autograd.functional.jacobian(coupling, x)
    torch.testing.assert_close(coupling.log_abs_det_jacobian(x, y), jacobian.slogdet().logabsdet)


@pytest.mark.parametrize("arguments", [["moons", "1"], ["digits", "1"]])
def test_realnvp_prints_its_bounds_and_a_picture(arguments, capsys):
    realnvp.run(arguments)
    out = capsys.readouterr().out
    assert out.count("negative ELBO") == 2
    assert out.count("IWAE") == (arguments[0] == "digits")
    assert len(out.splitlines()) > 20


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
        assert len(lines) <= 165
        imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
        assert imported <= {"math", "sys", "pyro", "torch", "inference"}
        assert [line for line in lines if "inference" in line] == ["from inference import load_dataset"]
