"""Every public function and class, with arguments that are wrong: ValueError or TypeError, and never a wrong number.

PYRO_MODELS_EXAMPLES sets how many calls of each are tried.
"""

import inspect
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyro
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Distribution, Transform

import inference
import pyro_models as models
from inference import ELBOWithTerms, Images, Trace_ELBO

EXAMPLES = int(os.environ.get("PYRO_MODELS_EXAMPLES", "15"))
SHAPE = (1, 4, 4)
WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-2, 2),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e-320, 1e30]),
    st.text(max_size=3),
    st.lists(st.integers(-2, 3), max_size=3),
    st.tuples(st.integers(-1, 4), st.integers(-1, 4), st.integers(-1, 4)),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    st.sampled_from(
        [
            object(),
            torch.zeros(0),
            torch.zeros(()),
            torch.full((3, *SHAPE), math.nan),
            torch.full((3, *SHAPE), math.inf),
            torch.zeros(3, *SHAPE, dtype=torch.long),
            torch.zeros(3, 2, 4, 4),
            torch.full((3, *SHAPE), 0.5),
            torch.zeros(1, 1, 1, 1),
            torch.zeros(3, dtype=torch.complex64),
            nn.Linear(2, 2),
            nn.Identity(),
        ]
    ),
)


def numbers_of(result: Any) -> Any:
    """All tensors and floats that a result holds or gives."""
    if isinstance(result, Distribution):
        sample = result.sample()
        yield from (sample, result.log_prob(sample))
    elif isinstance(result, Tensor | float):
        yield result
    elif isinstance(result, dict):
        for value in result.values():
            yield from numbers_of(value)
    elif isinstance(result, list | tuple):
        for value in result:
            yield from numbers_of(value)


def use_prior(prior: nn.Module) -> Any:
    return prior()


def use_model(model: nn.Module) -> Any:
    return inference.check_pair(model, guide(), binary(), Trace_ELBO())


def use_guide(guide: nn.Module) -> Any:
    return inference.check_pair(vae(), guide, binary(), Trace_ELBO())


def use_two_levels(half: nn.Module) -> Any:
    latents = {"latent_dim": 2, "top_dim": 2, "hidden": [4]}
    other = models.TwoLevelVAE(models.StandardNormal(2), models.MLPDecoder(2, SHAPE, [4]), **latents)
    if isinstance(half, models.TwoLevelVAE):
        return inference.check_pair(half, models.TwoLevelGuide(encoder(), **latents), binary(), Trace_ELBO())
    return inference.check_pair(other, half, binary(), Trace_ELBO())


def use_flow_model(model: nn.Module) -> Any:
    return inference.check_pair(model, models.UniformDequantizer(4), grey(), Trace_ELBO())


def use_dequantizer(guide: nn.Module) -> Any:
    return inference.check_pair(models.FlowModel(small_flow(), 4), guide, grey(), Trace_ELBO())


def loss_of(elbo: Any) -> Any:
    return ELBOWithTerms(elbo, vae(), guide())(binary().observe())[0]


def use_encoder(network: nn.Module) -> Any:
    return network.eval()(binary().observe())


def use_decoder(network: nn.Module) -> Any:
    return network.eval()(torch.randn(3, 2))


def use_transform(shape: tuple[int, ...], transform: Transform) -> Any:
    x = torch.rand(3, *shape)
    y = transform(x)
    return y, transform.inv(y), transform.log_abs_det_jacobian(x, y)


def use_flow(flow: nn.Module) -> Any:
    return flow()


def binary() -> Images:
    pixels = (torch.arange(6 * 16).reshape(6, *SHAPE) % 3 == 0).byte()
    return Images("bits", pixels, torch.arange(6) % 3, 2, "static")


def grey() -> Images:
    return Images("grey", torch.arange(6 * 16).reshape(6, *SHAPE).byte() % 4, torch.arange(6) % 3, 4)


def points() -> inference.Vectors:
    return inference.Vectors("points", torch.randn(6, 2))


def encoder() -> nn.Module:
    return models.MLPEncoder(SHAPE, [4])


def guide() -> nn.Module:
    return models.MeanFieldGuide(encoder(), 2)


def vae() -> nn.Module:
    return models.VAE(models.StandardNormal(2), models.MLPDecoder(2, SHAPE, [4]))


def small_flow() -> nn.Module:
    return models.flip_realnvp(SHAPE, 1, [4])


@dataclass
class Case:
    """A call that works, of which one argument is made wrong; what came of it is then used."""

    call: Callable
    right: Callable[[], dict[str, Any]]
    use: Callable[[Any], Any] = lambda result: result
    fixed: set[str] = field(default_factory=set)  # arguments that may be anything


decoder_options = {"latent_dim": 2, "image_shape": SHAPE}
CASES: dict[str, Case] = {
    # networks
    "MLP": Case(models.MLP, lambda: {"in_features": 2, "out_features": 3, "hidden": [4]}, use_decoder),
    "MLPEncoder": Case(models.MLPEncoder, lambda: {"image_shape": SHAPE, "hidden": [4]}, use_encoder),
    "ConvEncoder": Case(models.ConvEncoder, lambda: {"image_shape": SHAPE, "channels": 2, "features": 4}, use_encoder),
    "MLPDecoder": Case(models.MLPDecoder, lambda: {**decoder_options, "hidden": [4]}, use_decoder),
    "ConvDecoder": Case(models.ConvDecoder, lambda: {**decoder_options, "channels": 2}, use_decoder),
    "ResNet": Case(
        models.ResNet, lambda: {"in_channels": 1, "out_channels": 2, "channels": 4, "blocks": 1}, use_encoder
    ),
    "WithContext": Case(models.WithContext, lambda: {"network": nn.Linear(2, 2)}),
    # priors
    "StandardNormal": Case(models.StandardNormal, lambda: {"latent_dim": 2}, use_prior),
    "GaussianMixture": Case(models.GaussianMixture, lambda: {"latent_dim": 2, "num_components": 3}, use_prior),
    "FlowPrior": Case(models.FlowPrior, lambda: {"latent_dim": 2, "couplings": 2, "hidden": [4]}, use_prior),
    "ZukoPrior": Case(models.ZukoPrior, lambda: {"latent_dim": 2, "transforms": 1, "hidden": [4]}, use_prior),
    "VampPrior": Case(
        models.VampPrior, lambda: {"guide": guide(), "image_shape": SHAPE, "num_components": 3}, use_prior
    ),
    "ClassNormal": Case(models.ClassNormal, lambda: {"latent_dim": 2, "context": 3}, lambda p: p(torch.eye(3))),
    # guides
    "MeanFieldGuide": Case(models.MeanFieldGuide, lambda: {"encoder": encoder(), "latent_dim": 2}, use_guide),
    "FullRankGuide": Case(models.FullRankGuide, lambda: {"encoder": encoder(), "latent_dim": 2}, use_guide),
    "FlowGuide": Case(models.FlowGuide, lambda: {"encoder": encoder(), "latent_dim": 2, "hidden": [4]}, use_guide),
    "IAFGuide": Case(models.IAFGuide, lambda: {"encoder": encoder(), "latent_dim": 2, "hidden": [4]}, use_guide),
    "SemiAmortizedGuide": Case(
        models.SemiAmortizedGuide,
        lambda: {"encoder": encoder(), "latent_dim": 2, "model": vae(), "steps": 1},
        use_guide,
    ),
    "TwoLevelGuide": Case(
        models.TwoLevelGuide,
        lambda: {"encoder": encoder(), "latent_dim": 2, "top_dim": 2, "hidden": [4]},
        use_two_levels,
    ),
    "TopDownGuide": Case(
        models.TopDownGuide,
        lambda: {"encoder": encoder(), "latent_dim": 2, "top_dim": 2, "hidden": [4]},
        use_two_levels,
    ),
    "UniformDequantizer": Case(models.UniformDequantizer, lambda: {"levels": 4}, use_dequantizer),
    "FlowDequantizer": Case(
        models.FlowDequantizer,
        lambda: {"image_shape": SHAPE, "levels": 4, "couplings": 1, "channels": 2, "blocks": 1},
        use_dequantizer,
    ),
    # models
    "VAE": Case(
        models.VAE, lambda: {"prior": models.StandardNormal(2), "decoder": models.MLPDecoder(2, SHAPE, [4])}, use_model
    ),
    "TwoLevelVAE": Case(
        models.TwoLevelVAE,
        lambda: {
            "prior": models.StandardNormal(2),
            "decoder": models.MLPDecoder(2, SHAPE, [4]),
            "latent_dim": 2,
            "top_dim": 2,
            "hidden": [4],
        },
        use_two_levels,
    ),
    "DensityModel": Case(
        models.DensityModel, lambda: {"flow": models.vector_realnvp(2, 1, [4])}, lambda model: model(batch=3)
    ),
    "GaussianVectors": Case(
        models.GaussianVectors, lambda: {"image_shape": (2,)}, lambda likelihood: likelihood(torch.zeros(3, 2))
    ),
    "vector_realnvp": Case(models.vector_realnvp, lambda: {"size": 2, "couplings": 2, "hidden": [4]}, use_flow),
    "ZukoFlow": Case(models.ZukoFlow, lambda: {"size": 2, "transforms": 1, "hidden": [4]}, use_flow),
    "FlowModel": Case(models.FlowModel, lambda: {"flow": small_flow(), "levels": 4}, use_flow_model),
    "Inpainting": Case(
        models.Inpainting,
        lambda: {"model": models.FlowModel(small_flow(), 4), "known": torch.ones(SHAPE).bool()},
    ),
    # likelihoods
    "CategoricalPixels": Case(models.CategoricalPixels, lambda: {"levels": 4}, lambda m: m(torch.randn(3, 1, 4, 4, 4))),
    "LogisticPixels": Case(models.LogisticPixels, lambda: {"levels": 4}, lambda m: m(torch.randn(3, 1, 4, 4, 2))),
    "AutoregressivePixels": Case(models.AutoregressivePixels, lambda: {"image_shape": SHAPE}),
    "PixelCNNPixels": Case(
        models.PixelCNNPixels, lambda: {"image_shape": SHAPE, "channels": 4}, lambda m: m(torch.randn(3, *SHAPE))
    ),
    # distributions
    "BernoulliImage": Case(models.BernoulliImage, lambda: {"logits": torch.randn(3, *SHAPE)}, fixed={"validate_args"}),
    "NormalMixture": Case(
        models.NormalMixture,
        lambda: {"logits": torch.randn(3), "loc": torch.randn(3, 2), "scale": torch.ones(3, 2)},
        fixed={"validate_args"},
    ),
    "DiscretizedLogistic": Case(
        models.DiscretizedLogistic,
        lambda: {"loc": torch.randn(3, *SHAPE), "scale": torch.ones(3, *SHAPE), "levels": 4},
        fixed={"validate_args"},
    ),
    "Quantized": Case(
        models.Quantized,
        lambda: {"y": torch.rand(3, *SHAPE) * 4, "levels": 4, "event_dim": 3},
        lambda d: d.log_prob(torch.zeros(3, *SHAPE)).exp(),  # -inf where the cell is another
        fixed={"validate_args"},
    ),
    "UniformCell": Case(
        models.UniformCell, lambda: {"x": torch.ones(3, *SHAPE), "levels": 4, "event_dim": 3}, fixed={"validate_args"}
    ),
    # flows
    "flip_realnvp": Case(models.flip_realnvp, lambda: {"image_shape": SHAPE, "pairs": 1, "hidden": [4]}, use_flow),
    "masked_realnvp": Case(models.masked_realnvp, lambda: {"image_shape": SHAPE, "layers": 1, "hidden": [4]}, use_flow),
    "image_realnvp": Case(
        models.image_realnvp,
        lambda: {"image_shape": SHAPE, "channels": 2, "blocks": 1, "outer": 1, "squeezed": 1, "inner": 1},
        use_flow,
    ),
    "multiscale_realnvp": Case(
        models.multiscale_realnvp,
        lambda: {"image_shape": SHAPE, "scales": 1, "channels": 2, "blocks": 1, "couplings": 1, "last": 1},
        use_flow,
    ),
    # transforms
    "ActNorm": Case(models.ActNorm, lambda: {"channels": 1}, partial(use_transform, SHAPE)),
    "AffineCoupling": Case(
        models.AffineCoupling, lambda: {"conditioner": models.MLP(2, 4, [4])}, partial(use_transform, (4,))
    ),
    "LogisticMixtureCoupling": Case(
        models.LogisticMixtureCoupling,
        lambda: {"conditioner": models.MLP(2, (2, 2, 4, 4, 4), [4]), "components": 2},
        partial(use_transform, (4,)),
    ),
    "MaskedCoupling": Case(
        models.MaskedCoupling,
        lambda: {"mask": models.alternating(4), "conditioner": models.MLP(4, 8, [4])},
        partial(use_transform, (4,)),
    ),
    "Squash": Case(models.Squash, dict, partial(use_transform, SHAPE)),
    "ChannelPart": Case(
        models.ChannelPart,
        lambda: {"transforms": [models.ActNorm(1)], "channels": 1},
        partial(use_transform, (2, 4, 4)),
    ),
    "alternating": Case(models.alternating, lambda: {"size": 4}),
    "checkerboard": Case(models.checkerboard, lambda: {"image_shape": SHAPE}),
    "straight": Case(models.straight, lambda: {"a": torch.randn(3), "b": torch.randn(3), "steps": 3}),
    "great_circle": Case(models.great_circle, lambda: {"a": torch.randn(3), "b": torch.randn(3), "steps": 3}),
    # inference
    "Settings": Case(inference.Settings, dict),
    "Images": Case(
        Images,
        lambda: {"name": "x", "pixels": binary().pixels, "labels": binary().labels, "levels": 2},
        Images.observe,
        {"name"},
    ),
    "Vectors": Case(
        inference.Vectors,
        lambda: {"name": "x", "values": torch.randn(6, 2), "loc": torch.zeros(2), "scale": torch.ones(2)},
        inference.Vectors.observe,
        {"name"},
    ),
    "standardise": Case(
        lambda train: inference.standardise(train), lambda: {"train": inference.Vectors("x", torch.randn(6, 2))}
    ),
    "binarise": Case(inference.binarise, lambda: {"images": grey(), "how": "static"}, lambda images: images.observe()),
    "bits_per_dim": Case(inference.bits_per_dim, lambda: {"nats": 3.0, "image_shape": SHAPE}),
    "BetaELBO": Case(inference.BetaELBO, dict, loss_of),
    "RenyiELBO": Case(inference.RenyiELBO, dict, loss_of),
    "DReG": Case(inference.DReG, dict, loss_of),
    "STL": Case(inference.STL, dict, loss_of),
    "set_seed": Case(lambda seed: inference.set_seed(seed), lambda: {"seed": 0}),
    "effective_sample_share": Case(inference.effective_sample_share, lambda: {"log_w": torch.randn(5, 3)}),
    "pareto_k": Case(inference.pareto_k, lambda: {"log_w": torch.randn(50, 3)}),
    "iwae_bound": Case(inference.iwae_bound, lambda: {"log_w": torch.randn(5, 3), "m": 2}),
    "log_weights": Case(
        inference.log_weights,
        lambda: {"model": vae(), "guide": guide(), "x": binary().observe(), "num_samples": 2},
    ),
    "negative_bounds": Case(
        inference.negative_bounds,
        lambda: {"model": vae(), "guide": guide(), "images": binary(), "ms": (2,), "repeats": 1},
        lambda found: [estimate.value for estimate in found.values()],
    ),
    "diagnose": Case(
        inference.diagnose,
        lambda: {
            "model": vae(),
            "guide": guide(),
            "images": binary(),
            "num_images": 6,
            "num_weighted": 2,
            "num_samples": 9,
        },
        lambda diagnosis: diagnosis.gap,
    ),
    "collapse_threshold": Case(
        inference.collapse_threshold,
        lambda: {"likelihood": models.BernoulliPixels(), "x": binary().observe(), "steps": 2},
    ),
    "check_pair": Case(
        inference.check_pair,
        lambda: {"model": vae(), "guide": guide(), "images": binary(), "objective": Trace_ELBO()},
    ),
    "fit": Case(
        inference.fit,
        lambda: {
            "model": vae(),
            "guide": guide(),
            "train": binary(),
            "test": binary(),
            "settings": inference.Settings(epochs=1, device="cpu"),
        },
        fixed={"resume"},
    ),
    "plot_samples": Case(inference.plot_samples, lambda: {"model": vae(), "count": 2, "data": binary()}),
    "plot_reconstructions": Case(
        inference.plot_reconstructions, lambda: {"model": vae(), "guide": guide(), "data": binary(), "count": 2}
    ),
    "plot_density_2d": Case(
        inference.plot_density_2d,
        lambda: {
            "model": models.DensityModel(models.vector_realnvp(2, 1, [4])),
            "guide": models.NoLatents(),
            "data": points(),
            "size": 3,
            "num_samples": 2,
            "count": 4,
        },
    ),
    "plot_latents_2d": Case(
        inference.plot_latents_2d, lambda: {"model": vae(), "guide": guide(), "data": binary(), "count": 4}
    ),
    **{
        plot: Case(
            getattr(inference, plot),
            lambda: {"model": models.DensityModel(models.vector_realnvp(2, 1, [4])), "data": points(), "count": 4},
        )
        for plot in ("plot_marginals", "plot_pairs")
    },
    "build": Case(
        inference.build,
        lambda: {"spec": {"class_path": "pyro_models.StandardNormal", "init_args": {"latent_dim": 2}}},
    ),
    "load_dataset": Case(inference.load_dataset, lambda: {"name": "digits"}, fixed={"root"}),
    "open_data": Case(inference.open_data, lambda: {"source": "wine"}, fixed={"source", "root"}),
    "Reading": Case(inference.Reading, dict),
}
# what is no function of plain arguments, or is tested with files and processes elsewhere
ELSEWHERE = {
    *("CheckpointError", "DataError", "RunError", "Interrupted", "Run", "load", "plot_curves", "Opened", "DataSet"),
    *("Diagnosis", "Estimate", "Pair", "ELBOWithTerms", "CompiledELBO", "Weigher"),
    *("ImageELBO", "Trace_ELBO", "TraceMeanField_ELBO"),
    *(
        "AmortizedGuide",
        "AutoregressiveBernoulli",
        "BernoulliPixels",
        "Bijector",
        "Flip",
        "Flow",
        "FlowDistribution",
        "NoLatents",
    ),
    *("Parallel", "PixelCategorical", "ScaleAndShift", "Squeeze"),
}


def test_every_public_name_is_tried():
    assert {*models.__all__, *inference.__all__} == CASES.keys() | ELSEWHERE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(data=st.data())
def test_wrong_arguments_raise_value_or_type_errors_and_give_no_wrong_number(name, data):
    case = CASES[name]
    parameters = [
        p.name
        for p in inspect.signature(case.call).parameters.values()
        if p.name not in case.fixed and p.kind is not p.VAR_POSITIONAL
    ]
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    argument, value = data.draw(st.sampled_from(parameters)), data.draw(WRONG)
    try:
        results = list(numbers_of(case.use(case.call(**{**case.right(), argument: value}))))
    except (ValueError, TypeError, FloatingPointError, NotImplementedError):
        return
    except RuntimeError as error:
        if any(part in str(error) for part in MISFITS):
            return  # a part that is right in itself, with others of another size
        raise
    for result in results:
        assert is_moderate(result) or not is_moderate(value), {argument: value}


MISFITS = ("shapes cannot be multiplied", "expected input", "must match the size of tensor")


NUMPY = torch.zeros(3, 2).numpy()
PROGRAM = nn.Identity()
WRONG_TYPES = {
    "Vectors('x', array)": (
        lambda: inference.Vectors("x", NUMPY),
        r"values of Vectors\(\) must be a Tensor or a Mapped; got a NumPy array of shape \(3, 2\); torch.from_numpy",
    ),
    "fit(..., tensor)": (
        lambda: inference.fit(PROGRAM, PROGRAM, torch.zeros(3, 2)),
        r"train of fit\(\) must be a DataSet, such as Vectors or Images; got a Tensor of shape \(3, 2\)$",
    ),
    "fit(..., objective=class)": (
        lambda: inference.fit(PROGRAM, PROGRAM, points(), objective=Trace_ELBO),
        r"objective of fit\(\) must be an ELBO or None; got the class Trace_ELBO$",
    ),
    "standardise(images)": (
        lambda: inference.standardise(binary()),
        r"must be Vectors; got Images of shape \(1, 4, 4\)$",
    ),
    "MLP('a')": (lambda: models.MLP("a", 3), r"in_features of MLP\(\) must be an int; got 'a'$"),
    "ms=[1.5]": (
        lambda: inference.negative_bounds(PROGRAM, PROGRAM, points(), [1.5]),
        r"a Sequence\[int\]; got \[1.5\]$",
    ),
    "show='x'": (
        lambda: inference.fit(PROGRAM, PROGRAM, points(), show="x"),
        r"must be one of 'negative_elbo', 'bits_per_dim' or None; got 'x'$",
    ),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_a_wrong_type_is_told_in_a_line(name):
    call, message = WRONG_TYPES[name]
    with pytest.raises(TypeError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def is_moderate(value: Any) -> bool:
    """Whether a value holds no number that is not finite, or nearly so."""
    if isinstance(value, float | Tensor):
        numbers = torch.as_tensor(value).abs()
        return bool((numbers < 1e30).all())
    return True
