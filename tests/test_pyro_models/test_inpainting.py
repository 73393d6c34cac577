"""The posterior of a flow given some of an image's pixels."""

import pytest
import torch
from conftest import randomise
from pyro import poutine
from pyro.infer import MCMC, NUTS
from torch.distributions.transforms import AffineTransform, ReshapeTransform

from pyro_models import Flow, FlowModel, Inpainting, Squash, flip_realnvp

SHAPE = (1, 2, 2)
KNOWN = torch.tensor([[[True, True], [False, False]]])


def affine_model(levels: int = 256) -> FlowModel:
    """y = sigmoid(1 + 2 epsilon), pixel by pixel: a flow whose posterior is a normal distribution."""
    transforms = [AffineTransform(1.0, 2.0, event_dim=1), ReshapeTransform((4,), SHAPE), Squash(0.0)]
    return FlowModel(Flow(transforms, 4), levels)


def test_the_sampler_finds_a_posterior_known_exactly():
    x = torch.tensor([[[[10.0, 200.0], [0.0, 0.0]]]])
    noise = 0.5
    chain = MCMC(
        NUTS(Inpainting(affine_model(), KNOWN, noise)), num_samples=1500, warmup_steps=200, disable_progbar=True
    )
    chain.run(x)
    draws = chain.get_samples()["epsilon"][:, 0]
    target = ((x.flatten()[:2] + 0.5) / 256).logit()
    precision = 1 + 4 / noise**2
    mean = torch.cat([2 * (target - 1) / noise**2 / precision, torch.zeros(2)])
    deviation = torch.tensor([precision**-0.5] * 2 + [1.0] * 2)
    assert ((draws.mean(0) - mean).abs() < 0.15 * deviation).all()
    torch.testing.assert_close(draws.std(0), deviation, rtol=0.15, atol=0)


def test_known_pixels_stay_and_others_are_whole_levels():
    model = FlowModel(randomise(flip_realnvp(SHAPE, hidden=[8])), 17)
    x = torch.randint(0, 17, (6, *SHAPE)).float()
    drawn = Inpainting(model, KNOWN)(x)
    assert drawn.shape == x.shape
    assert torch.equal(drawn[:, KNOWN], x[:, KNOWN])
    assert torch.equal(drawn, drawn.round())
    assert ((drawn >= 0) & (drawn < 17)).all()
    assert not torch.equal(drawn, Inpainting(model, KNOWN)(x))


def test_known_pixels_that_are_none_of_the_levels_are_refused():
    x = torch.full((1, *SHAPE), 255.0)  # where it is not known, x makes no difference
    x[..., 0, :] = torch.tensor([3.0, 17.0])
    with pytest.raises(ValueError, match="whole numbers from 0 to 16.* 1 of 2 are not, such as 17"):
        Inpainting(affine_model(17), KNOWN)(x)
    x[..., 0, :] = torch.tensor([3.0, 16.0])
    assert Inpainting(affine_model(17), KNOWN)(x)[..., 0, :].flatten().tolist() == [3, 16]


def test_a_conditional_flow_is_given_its_labels():
    flow = randomise(flip_realnvp(SHAPE, hidden=[8], context=3))
    program = Inpainting(FlowModel(flow, 17, num_classes=3), KNOWN)
    x, labels = torch.zeros(3, *SHAPE), torch.arange(3)
    epsilon = torch.zeros(3, 4)
    trace = poutine.trace(poutine.condition(program, data={"epsilon": epsilon})).get_trace(x, labels)
    torch.testing.assert_close(
        trace.nodes["known"]["fn"].mean,
        Squash().inv(flow(torch.eye(3)).from_base(epsilon))[:, KNOWN],
        rtol=1e-3,
        atol=1e-3,
    )
    with pytest.raises(ValueError, match="labels"):
        program(x)


def test_each_image_has_its_own_posterior():
    x = torch.randint(0, 256, (5, *SHAPE)).float()
    trace = poutine.trace(Inpainting(affine_model(), KNOWN)).get_trace(x)
    trace.compute_log_prob()
    assert trace.nodes["epsilon"]["log_prob"].shape == (5,)
    assert trace.nodes["known"]["log_prob"].shape == (5,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"known": torch.zeros(SHAPE, dtype=torch.bool)}, "at least one pixel"),
        ({"known": KNOWN, "noise": 0.0}, "noise must be at least 0.001"),
    ],
)
def test_bad_arguments_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        Inpainting(affine_model(), **arguments)


def test_a_black_pixel_pulls_however_far_the_flow_is_from_it():
    program = Inpainting(affine_model(), KNOWN)
    epsilon = torch.full((1, 4), -12.0, requires_grad=True)
    trace = poutine.trace(poutine.condition(program, data={"epsilon": epsilon})).get_trace(torch.zeros(1, *SHAPE))
    (gradient,) = torch.autograd.grad(trace.nodes["known"]["fn"].log_prob(trace.nodes["known"]["value"]).sum(), epsilon)
    assert (gradient[0, :2] > 0).all()
    assert (gradient[0, 2:] == 0).all()


def test_only_flows_that_end_in_a_squash_can_be_inpainted():
    with pytest.raises(TypeError, match="FlowModel"):
        Inpainting(torch.nn.Identity(), KNOWN)
    flow = Flow([ReshapeTransform((4,), SHAPE)], 4)
    with pytest.raises(TypeError, match="Squash"):
        Inpainting(FlowModel(flow, 17), KNOWN)(torch.zeros(1, *SHAPE))


def test_images_of_another_shape_are_told():
    with pytest.raises(ValueError, match="images must have the shape of known"):
        Inpainting(affine_model(), KNOWN)(torch.zeros(1, 1, 4, 4))
