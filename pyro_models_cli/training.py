"""What the two training commands share: options, data, run folder and fit."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pyro.infer import ELBO
from torch import nn

from inference import CheckpointError, Images, Run, RunError, Settings, build, check_pair, fit, set_seed
from inference.data.datasets import DATASETS, is_there
from inference.system.processes import join_processes, of_every_process
from inference.system.randomness import generators_as_they_were
from pyro_models_cli.choices import Choice, Part, with_defaults
from pyro_models_cli.configuration import TYPED_ALONE, config_of
from pyro_models_cli.options import check_choices, one_of, ordered
from pyro_models_cli.parser import Parser, made
from pyro_models_cli.recorded import own_command
from pyro_models_cli.trained import images_of

OBJECTIVE = Choice(
    "objective",
    ("Trace_ELBO", "TraceMeanField_ELBO", "RenyiELBO", "DReG", "STL", "BetaELBO"),
    "bound to maximise",
)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(Settings):
    """Options of the images and the run folder.

    A run's config.yaml holds these fields: ``TrainVAEOptions(**Run.open(folder).config)`` are its options.

    Args:
        dataset: images to train on.
        data_root: folder of the data sets; by default $PYRO_MODELS_DATA, else the user's cache folder.
        out: folder for the run.
        overwrite: replace the run in that folder.
        resume: continue the run in that folder, with its own options.
        allow_import: packages of your own whose classes a configuration may name.
        objective: the bound that is maximised.

    Raises:
        ValueError: if an option is out of its range, or a part is unknown or may not be imported.
    """

    choices: ClassVar[tuple[Choice, ...]] = (OBJECTIVE,)

    dataset: str = one_of(tuple(DATASETS), "mnist")
    data_root: str | None = None
    out: str
    overwrite: bool = False
    resume: bool = False
    allow_import: Sequence[str] = ()
    objective: Part = OBJECTIVE.names[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self)
        object.__setattr__(self, "out", str(self.out))
        object.__setattr__(self, "allow_import", list(self.allow_import))
        for choice in self.choices:
            whole = choice.described(getattr(self, choice.role), self.allow_import)
            object.__setattr__(self, choice.role, whole)  # equal options are equal, however they were written

    @property
    def config(self) -> dict[str, Any]:
        """The options as a configuration file holds them."""
        plain = {entry.name: getattr(self, entry.name) for entry in ordered(type(self))}
        return config_of(plain, [choice.role for choice in self.choices])


Options = TypeVar("Options", bound=TrainingOptions)


def parse_training(
    options: type[Options], description: str | None, argv: Sequence[str] | None, trusted: bool = True
) -> Options:
    """The options that a command line and its configuration files give.

    Args:
        options: their class.
        description: of the command.
        argv: the command line; by default this process's own.
        trusted: whether the user typed it, and so may name classes of their own.

    Raises:
        ValueError: if they are wrong.
    """
    parser = Parser(description=description)
    parser.add_choices(*options.choices)
    parser.add_options(options)
    given = parser.parse(argv, trusted)
    if "data_root" not in parser.typed and not (given.data_root and is_there(given.dataset, given.data_root)):
        given.data_root = None  # a file may say where data are, not where to download them
    return made(options, given)


def recorded_as(argv: Sequence[str] | None) -> str | None:
    """The command line to record: this process's own, unless another was parsed."""
    return own_command() if argv is None else None


def load_images(options: TrainingOptions) -> tuple[Images, Images]:
    """The training and the test images, once the cheaper checks have passed."""
    options.find_device()
    if not (options.resume or options.overwrite):
        Run(Path(options.out)).check_free()
    return images_of(options.config, options.data_root)


def labels_known(train: Images) -> dict[str, int]:
    """What the parts of a conditional pair need to know of the labels."""
    return {"num_classes": train.num_classes, "context": train.num_classes} if train.conditional else {}


@generators_as_they_were()
def build_and_try(options: TrainingOptions, pair: dict[str, Any], train: Images) -> tuple[nn.Module, nn.Module, ELBO]:
    """Model, guide and objective, tried on two images before any existing run is touched."""
    set_seed(options.seed)
    programs = build(pair, allow=options.allow_import)
    objective = build(options.objective, allow=options.allow_import)
    options.check_holds_out_fewer_than(len(train))
    check_pair(programs["model"], programs["guide"], train, objective)
    return programs["model"], programs["guide"], objective


def train_pair(
    options: TrainingOptions,
    pair: dict[str, Any],
    train: Images,
    test: Images,
    show: Literal["negative_elbo", "bits_per_dim"],
    command: str,
) -> Run:
    """Build a pair, try it, create or open its run folder, and fit it."""
    rank, processes = join_processes(options.device)
    model, guide, objective = build_and_try(options, pair, train)
    run = Run(Path(options.out))
    if not options.resume:
        run.check_free(options.overwrite)
    with run.locked() if rank == 0 else nullcontext():
        if options.resume:
            run = Run.open(options.out)
            old = run.config
            check_can_be_continued(run, options, processes)
            of_every_process(rank)  # all have read it
            if rank == 0:
                run.write_config(options.config)
        elif rank == 0:
            run = Run.create(options.out, options.config, pair, options.overwrite, command)
        of_every_process(rank)  # by now the folder is there
        try:
            fit(model, guide, train, test, options, objective, run, options.resume, show)
        except (ValueError, CheckpointError, RunError):  # nothing was continued
            if options.resume and rank == 0:
                run.write_config(old)
            raise
        finally:
            run.discard()
        if rank == 0:
            print(f"run written to {run.path}: last epoch {len(run.metrics())}, {run.minutes:.1f} minutes")
    return run


# what may change when a run is resumed
MAY_CHANGE = {"out", "data_root", "epochs", "patience", "device", "tensorboard", "on_nonfinite"}


def check_can_be_continued(run: Run, options: TrainingOptions, processes: int) -> None:
    """Check that a run can be resumed with these options by this many processes.

    Raises:
        ValueError: if not.
    """
    refused = [name for name in changed(run.config, options) if name not in MAY_CHANGE]
    if refused:
        raise ValueError(
            f"--resume continues a run with its own options and cannot change {', '.join(refused)}: "
            "leave the option out, or start a new run in another folder"
        )
    before = run.environment.get("processes", 1)
    if before != processes:
        raise ValueError(f"the run was started by {before} process(es) and cannot be resumed by {processes}")
    done = len(run.metrics())
    if options.epochs < done:
        raise ValueError(f"the run already has {done} epochs; give --epochs {done} or more")


def changed(config: dict[str, Any], options: TrainingOptions) -> list[str]:
    """The names of options that differ from a run's; an option newer than the run counts as its default."""
    entries = ordered(type(options))
    defaults = {entry.name: entry.default for entry in entries if entry.default is not MISSING}
    roles = {choice.role for choice in options.choices}
    known = {name: value for name, value in defaults.items() if name not in {*roles, *TYPED_ALONE}}
    before = known | {name: with_defaults(value, options.allow_import) for name, value in config.items()}
    before, now = json.loads(json.dumps(before)), options.config
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
