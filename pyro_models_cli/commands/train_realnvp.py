"""Train a RealNVP flow on integer pixels x: a density of intensities y, and a guide q(y|x) that dequantises them.

The objective is a bound on log p(x), such as the evidence lower bound (ELBO), shown in bits per dimension: nats,
divided by log 2 and the number of pixels and channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from inference import Run
from pyro_models_cli.choices import Choice, Part, describe
from pyro_models_cli.recorded import command_of
from pyro_models_cli.training import (
    OBJECTIVE,
    TrainingOptions,
    labels_known,
    load_images,
    parse_training,
    recorded_as,
    train_pair,
)

FLOW = Choice(
    "flow", ("flip_realnvp", "image_realnvp", "multiscale_realnvp", "masked_realnvp"), "density of the intensities"
)
DEQUANTIZER = Choice(
    "dequantizer", ("UniformDequantizer", "FlowDequantizer"), "guide q(y|x) from pixels to intensities", kind="guide"
)


@dataclass(frozen=True, kw_only=True)
class TrainRealNVPOptions(TrainingOptions):
    """Options of the flow.

    A part is a name, an import path, or a description as in a configuration file.

    >>> options = TrainRealNVPOptions(dataset="digits", flow="masked_realnvp", epochs=1, out="runs/masked")
    >>> options.flow["init_args"]["layers"]
    6

    Args:
        flow: density of the intensities.
        dequantizer: guide q(y|x) from pixels to intensities.
        conditional: model images given their labels.
    """

    choices: ClassVar[tuple[Choice, ...]] = (FLOW, DEQUANTIZER, OBJECTIVE)

    flow: Part = FLOW.names[0]
    dequantizer: Part = DEQUANTIZER.names[0]
    conditional: bool = False
    epochs: int = 70
    batch_size: int = 250
    lr: float = 2e-3
    clip_norm: float | None = 50.0


def parse(argv: Sequence[str] | None = None, trusted: bool = True) -> TrainRealNVPOptions:
    """The options that a command line gives, see :func:`pyro_models_cli.training.parse_training`."""
    return parse_training(TrainRealNVPOptions, __doc__, argv, trusted)


def train_realnvp(options: TrainRealNVPOptions, command: str | None = None) -> Run:
    """Train a flow, or continue its training; everything about it is kept in the run folder.

    Args:
        options: of the flow, its images and the training.
        command: the command line to record; by default one that gives these options.

    Raises:
        ValueError: if the parts, the images and the settings do not fit together.
        RunError, OSError: if the run cannot be written to its folder.
        FloatingPointError: if a loss or a gradient is NaN or infinite.
    """
    train, test = load_images(options)
    known = {"image_shape": list(train.image_shape), "levels": train.levels, **labels_known(train)}
    pair = {
        "model": describe("pyro_models.FlowModel", flow=describe(options.flow, **known), **known),
        "guide": describe(options.dequantizer, **known),
    }
    return train_pair(options, pair, train, test, "bits_per_dim", command or command_of("train-realnvp", options))


def command(argv: Sequence[str] | None = None) -> None:
    train_realnvp(parse(argv), recorded_as(argv))
