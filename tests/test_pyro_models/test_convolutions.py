"""Convolutional networks compute what their layers say, whatever the layout of their input in memory."""

import pytest
import torch
from conftest import randomise
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_models import ConvDecoder, ConvEncoder, MLPEncoder, ResNet, ScaleAndShift, image_realnvp, multiscale_realnvp
from pyro_models.networks.decoders import EnlargingConv2d
from pyro_models.networks.resnet import Residual, ResidualBlock, channels_last

LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "one of two channels": lambda x: torch.stack([x, -x], -1)[..., 0],
    "transposed": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "within a larger one": lambda x: F.pad(x, (1, 2, 1, 0, 1, 1))[:, 1:-1, 1:, 1:-2],
    "repeated": lambda x: x[:1, :, :1].expand(x.shape),
}


def plain(part: nn.Module, x: Tensor) -> Tensor:
    """What a network computes, layer by layer, in the default layout."""
    if isinstance(part, nn.Sequential):
        for layer in part:
            x = plain(layer, x)
        return x
    if isinstance(part, ResidualBlock | Residual):
        return x + plain(part.net, x)
    if isinstance(part, nn.Conv2d):
        x = F.interpolate(x, part.size) if isinstance(part, EnlargingConv2d) else x
        return F.conv2d(x, part.weight, part.bias, part.stride, part.padding)
    if isinstance(part, nn.ReLU):
        return x.clamp(min=0)
    return F.elu(x) if isinstance(part, nn.ELU) else part(x)


def plain_encoder(encoder: ConvEncoder, x: Tensor) -> Tensor:
    return F.elu(encoder.out(plain(encoder.net, 2 * x - 1)))


def value_and_gradients(function, network: nn.Module, x: Tensor, weight: Tensor | None = None) -> list[Tensor]:
    """The network's value, and the gradients of a weighted sum of its squares."""
    leaf = x.detach().requires_grad_()
    y = function(network, leaf)
    torch.manual_seed(1)
    gradients = torch.autograd.grad((torch.randn(y.shape) * y.square()).sum(), [leaf, *network.parameters()])
    return [y, *gradients]


def assert_plain(network: nn.Module, x: Tensor, reference) -> None:
    found = value_and_gradients(lambda network, x: network(x), network, x)
    expected = value_and_gradients(reference, network, x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert found[0].is_contiguous()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 1, 5, 7), (2, 3, 4, 6), (1, 1, 3, 2), (1, 3, 1, 1), (2, 1, 28, 28)])
def test_networks_compute_what_their_layers_say(shape, layout):
    x = LAYOUTS[layout](torch.rand(shape))
    assert_plain(randomise(ResNet(shape[1], 2, 3, 2)), x, lambda network, x: plain(network.net, x))
    assert_plain(randomise(ConvEncoder(shape[1:], 2, features=4)), x, plain_encoder)
    decoder = randomise(ConvDecoder(2, shape[1:], 2))
    assert_plain(decoder, torch.randn(shape[0], 2), lambda network, z: plain(network.net, z))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [(6, 8), (5, 7), (6, 7), (5, 8), (4, 3)])
def test_repeated_pixels_share_sums_of_weights(size):
    convolution = EnlargingConv2d(3, 2, size)
    assert_plain(convolution, torch.randn(2, 3, 3, 4).sin(), plain)
    assert convolution(torch.zeros(2, 3, 3, 4)).shape == (2, 2, *size)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("make", [image_realnvp, multiscale_realnvp])
def test_densities_and_draws_of_flows_are_those_of_plain_networks(make, context, monkeypatch):
    flow = randomise(make((3, 4, 8), channels=3, blocks=1, context=context), 0.1).eval()
    given = (torch.eye(3)[[0, 2]],) if context else ()
    y = torch.rand(2, 3, 4, 8)

    def density_and_more() -> list[Tensor]:
        value = value_and_gradients(lambda flow, y: flow(*given).log_prob(y), flow, y)
        epsilon, log_det = flow(*given).to_base(y)
        return [*value, epsilon, log_det, flow(*given).from_base(epsilon)]

    found = density_and_more()
    torch.testing.assert_close(found[-1], y)
    monkeypatch.setattr(ResNet, "forward", lambda network, x: plain(network.net, x))
    torch.testing.assert_close(found, density_and_more(), rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch convolves in another way")
@pytest.mark.parametrize("channels", [1, 3])
def test_no_convolution_goes_back_to_the_default_layout(channels):
    shape = (channels, 8, 8)
    x = torch.rand(4, *shape)
    cases = [(ResNet(channels, 4, 16, 2), x), (ConvEncoder(shape), x), (ConvDecoder(2, shape), torch.randn(4, 2))]
    for network, given in cases:
        layouts = []
        convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
        for part in convolutions:
            part.register_forward_hook(lambda part, given, y, kept=layouts: kept.append((y.shape[1], y.stride(1))))
        network(given)
        assert len(layouts) == len(convolutions)
        assert all(width == 1 or stride == 1 for width, stride in layouts)


def test_the_compiler_keeps_what_the_layout_assumes():
    convolution, weight = nn.Conv2d(1, 4, 3, padding=1), torch.rand(2, 4, 1, 1)

    @torch.no_grad()
    def run(x: Tensor) -> list[Tensor]:
        one = convolution(channels_last(x.sin()))
        return [one, channels_last(F.conv2d(channels_last(one.tanh()), weight).cos())]

    x = torch.randn(2, 2, 6, 5).contiguous(memory_format=torch.channels_last)[:, :1]
    compiled = torch.compile(run)(x)
    torch.testing.assert_close(compiled, run(x))
    assert all(y.stride(1) == 1 for y in compiled)


@pytest.mark.parametrize("network", [ResNet(1, 2, 16, 2), ConvEncoder((1, 8, 8)), ConvDecoder(16, (1, 8, 8))])
def test_bf16_rounds_no_more_than_plain_layers(network):
    x = torch.randn(20, 16) if isinstance(network, ConvDecoder) else torch.rand(20, 1, 8, 8)
    reference = plain_encoder if isinstance(network, ConvEncoder) else (lambda network, x: plain(network.net, x))
    exact = reference(randomise(network), x)
    with torch.autocast("cpu", torch.bfloat16):
        found, plainly = network(x).float(), reference(network, x).float()
    assert (found - exact).norm() < 1.2 * (plainly - exact).norm()


def layers_made_one_by_one(*sizes: tuple[type, tuple]) -> list[Tensor]:
    torch.manual_seed(0)
    return [parameter for kind, size in sizes for parameter in kind(*size).parameters()]


def test_weights_have_the_names_and_starting_values_of_old_checkpoints():
    torch.manual_seed(0)
    decoder = ConvDecoder(3, (1, 8, 8), channels=2, stages=1)
    assert {name for name, _ in decoder.named_parameters()} == {
        f"net.{layer}.{kind}" for layer in ("0", "4", "5.net.1", "5.net.3", "7") for kind in ("weight", "bias")
    }
    layers = (nn.Linear, (3, 64)), *[(nn.Conv2d, size) for size in ((4, 2, 3), (2, 2, 3), (2, 2, 3), (2, 1, 3))]
    made = layers_made_one_by_one(*layers)
    made[4], made[6] = made[6], torch.zeros_like(made[4])  # a block makes its last layer first
    made[5], made[7] = made[7], made[5]
    torch.testing.assert_close(list(decoder.parameters()), made, rtol=0, atol=0)
    encoder = ConvEncoder((1, 8, 8), channels=2, stages=1)
    assert {name.rpartition(".")[0] for name, _ in encoder.named_parameters()} == {
        "net.0", "net.1.net.1", "net.1.net.3", "net.3", "out",
    }  # fmt: skip
    names = {name for name, _ in ScaleAndShift(ResNet(1, 2, 2, 1)).named_parameters()}
    assert {name.removesuffix(".bias") for name in names if name.endswith("bias")} == {
        f"network.net.{layer}" for layer in ("0", "2.net.0", "2.net.2", "2.net.4", "4")
    }


def test_other_devices_keep_their_layout():
    x = torch.zeros(2, 3, 4, 4, device="meta")
    assert channels_last(x) is x
    assert ResNet(3, 2, 4, 1).to("meta")(x).shape == (2, 2, 4, 4)
    assert ConvDecoder(2, (1, 8, 8)).to("meta")(torch.zeros(5, 2, device="meta")).shape == (5, 1, 8, 8)


@pytest.mark.parametrize("network", [ConvEncoder, MLPEncoder])
def test_no_images_have_no_features(network):
    assert network((1, 8, 8))(torch.zeros(0, 1, 8, 8)).shape == network((1, 8, 8))(torch.zeros(3, 1, 8, 8))[:0].shape
