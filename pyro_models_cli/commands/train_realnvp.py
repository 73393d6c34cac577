"""Train a RealNVP flow, on images or on vectors.

Images: x are integer pixels, the flow is a density of the intensities y behind them, and a guide q(y|x) dequantises.
The objective is a bound on log p(x), such as the evidence lower bound (ELBO), shown in bits per dimension: nats,
divided by log 2 and the number of pixels and channels.  Vectors: the flow is the density of x itself, without a latent,
and the objective is log p(x), in nats per vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from inference import Run
from inference.training.display import Metric
from pyro_models_cli.choices import Choice, Part, describe
from pyro_models_cli.data import Data
from pyro_models_cli.recorded import command_of
from pyro_models_cli.training import (
    OBJECTIVE,
    TrainingOptions,
    check_suits,
    labels_known,
    load_data,
    parse_training,
    recorded_as,
    train_pair,
)

FLOW = Choice(
    "flow",
    ("flip_realnvp", "image_realnvp", "multiscale_realnvp", "masked_realnvp", "vector_realnvp", "ZukoFlow"),
    "density of the intensities, or of the vectors",
    for_vectors="vector_realnvp",
)
DEQUANTIZER = Choice(
    "dequantizer",
    ("UniformDequantizer", "FlowDequantizer", "NoLatents"),
    "guide q(y|x) from pixels to intensities; NoLatents for vectors",
    kind="guide",
    for_vectors="NoLatents",
)


@dataclass(frozen=True, kw_only=True)
class TrainRealNVPOptions(TrainingOptions):
    """Options of the flow.

    A part is a name, an import path, or a description as in a configuration file.

    >>> options = TrainRealNVPOptions(dataset="digits", flow="masked_realnvp", epochs=1, out="runs/masked")
    >>> options.flow["init_args"]["layers"]
    6

    Args:
        flow: density of the intensities, by default flip_realnvp; or of vectors, by default vector_realnvp.
        dequantizer: guide q(y|x) from pixels to intensities, by default UniformDequantizer; NoLatents for vectors.
        conditional: model images or vectors given their labels.
        clip_norm: largest norm of the gradient; .inf for no limit.
    """

    choices: ClassVar[tuple[Choice, ...]] = (FLOW, DEQUANTIZER, OBJECTIVE)

    flow: Part | None = None
    dequantizer: Part | None = None
    conditional: bool = False
    epochs: int = 70
    batch_size: int = 250
    lr: float = 2e-3
    clip_norm: float = 50.0


def parse(argv: Sequence[str] | None = None, trusted: bool = True) -> TrainRealNVPOptions:
    """The options that a command line gives, see :func:`pyro_models_cli.training.parse_training`."""
    return parse_training(TrainRealNVPOptions, __doc__, argv, trusted)


def train_realnvp(options: TrainRealNVPOptions, command: str | None = None) -> Run:
    """Train a flow, or continue its training; everything about it is kept in the run folder.

    Args:
        options: of the flow, its data and the training.
        command: the command line to record; by default one that gives these options.

    Raises:
        ValueError, DataError: if the parts, the data and the settings do not fit together, or the data cannot be read.
        RunError, OSError: if the run cannot be written to its folder.
        FloatingPointError: if a loss or a gradient is NaN or infinite.
    """
    data = load_data(options)
    show: Metric = "bits_per_dim" if data.kind == "images" else "negative_elbo"
    return train_pair(
        options, describe_pair(options, data), data, show, command or command_of("train-realnvp", options)
    )


def describe_pair(options: TrainRealNVPOptions, data: Data) -> dict[str, Any]:
    """Describe model and guide: every part with what it needs to know of the data."""
    assert options.flow is not None  # both are set with the options
    assert options.dequantizer is not None
    known = {"image_shape": list(data.train.shape), "levels": data.levels, **labels_known(data.train)}
    known |= {"size": data.train.num_dims}
    flow, guide = describe(options.flow, **known), describe(options.dequantizer, **known)
    check_suits(data, flow, "vector_realnvp or ZukoFlow")
    check_suits(data, guide, "NoLatents")
    model = "FlowModel" if data.kind == "images" else "DensityModel"
    return {"model": describe(f"pyro_models.{model}", flow=flow, **known), "guide": guide}


def command(argv: Sequence[str] | None = None) -> None:
    train_realnvp(parse(argv), recorded_as(argv))
