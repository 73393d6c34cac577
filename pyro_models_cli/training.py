"""What the two training commands share: options, data, run folder and fit."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import MISSING, Field, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pyro.infer import ELBO
from torch import nn

from inference import CheckpointError, DataSet, Run, RunError, Settings, build, check_pair, fit, set_seed
from inference.data.datasets import is_there
from inference.data.opening import names_function
from inference.runs.parts import find_part
from inference.system.processes import join_processes, of_every_process
from inference.system.randomness import generators_as_they_were
from pyro_models_cli.choices import Choice, Part, with_defaults
from pyro_models_cli.configuration import TYPED_ALONE, config_of
from pyro_models_cli.data import Data, DataOptions, Kind, data_found, data_of, kind_named
from pyro_models_cli.options import check_choices, ordered
from pyro_models_cli.parser import Parser, made
from pyro_models_cli.recorded import own_command
from pyro_models_cli.words import one_line

OBJECTIVE = Choice(
    "objective",
    ("Trace_ELBO", "TraceMeanField_ELBO", "RenyiELBO", "DReG", "STL", "BetaELBO"),
    "bound to maximise",
)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(Settings, DataOptions):
    """Options of the run folder.

    A run's config.yaml holds these fields: ``TrainVAEOptions(**Run.open(folder).config)`` are its options.

    Args:
        out: folder for the run.
        overwrite: replace the run in that folder.
        resume: continue the run in that folder, with its own options.
        allow_import: packages of your own; a configuration may name their classes, and their functions that return
            data.
        objective: the bound that is maximised.

    Raises:
        ValueError: if an option is out of its range, or a part is unknown or may not be imported.
    """

    choices: ClassVar[tuple[Choice, ...]] = (OBJECTIVE,)

    out: str
    overwrite: bool = False
    resume: bool = False
    allow_import: Sequence[str] = ()
    objective: Part = OBJECTIVE.names[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.resume or names_function(self.dataset)):
            self.kind  # noqa: B018  (finding it checks the name)
        for entry in fields(self):
            if getattr(self, entry.name) is None:
                object.__setattr__(self, entry.name, self.usual(entry))
        check_choices(self)
        if self.dtype == "float64" and self.mixed_precision != "no":
            raise ValueError("dtype float64 does not go with mixed_precision, which halves the precision: drop one")
        object.__setattr__(self, "out", str(self.out))
        object.__setattr__(self, "allow_import", list(self.allow_import))
        for choice in self.choices:
            whole = choice.described(getattr(self, choice.role), self.allow_import)
            object.__setattr__(self, choice.role, whole)  # equal options are equal, however they were written

    @cached_property
    def kind(self) -> Kind:
        """Whether the data are images or vectors."""
        return kind_named(self.dataset, self.layout, self.allow_import)

    def usual(self, entry: Field) -> Any:
        """The default of an option, which may depend on the kind of the data."""
        by_kind = entry.metadata.get("by_kind")
        choice = next((choice for choice in self.choices if choice.role == entry.name and choice.for_vectors), None)
        if by_kind or choice:
            return by_kind[self.kind] if by_kind else choice.usual(self.kind)  # type: ignore[union-attr]
        return entry.default

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


def load_data(options: TrainingOptions) -> Data:
    """The data of a training, once the cheaper checks have passed."""
    options.find_device()
    if not (options.resume or options.overwrite):
        Run(Path(options.out)).check_free()
    if not options.resume:
        return data_of(options.config, options.data_root, options.allow_import)
    run = Run.open(options.out)
    run.check_resumable()
    elsewhere = None if options.dataset == run.config["dataset"] else options.dataset
    return data_found(options.config, run.data, elsewhere, options.data_root, options.allow_import)


def labels_known(train: DataSet) -> dict[str, int]:
    """What the parts of a conditional pair need to know of the labels."""
    return {"num_classes": train.num_classes, "context": train.num_classes} if train.conditional else {}


_OVER_VECTORS = {"vector_realnvp", "ZukoFlow", "NoLatents", "GaussianVectors"}


def check_suits(data: Data, part: dict[str, Any], for_vectors: str) -> None:
    """Check that a flow, a likelihood or a dequantiser of this project is one for data of this kind.

    Raises:
        ValueError: if not; it names those for vectors.
    """
    known = find_part(part["class_path"])
    if known is None or (known.name in _OVER_VECTORS) == (data.kind == "vectors"):
        return
    if data.kind == "vectors":
        raise ValueError(f"{known.name} is for images, but {data.train.name} holds vectors: take {for_vectors}")
    raise ValueError(
        f"{known.name} is for vectors, but {data.train.name} holds images: leave the option out, and take the default"
    )


@generators_as_they_were()
def build_and_try(options: TrainingOptions, pair: dict[str, Any], train: DataSet) -> tuple[nn.Module, nn.Module, ELBO]:
    """Model, guide and objective, tried on a few observations before any existing run is touched."""
    set_seed(options.seed)
    programs = build(pair, allow=options.allow_import)
    for program in programs.values():
        program.to(getattr(torch, options.dtype))
    objective = build(options.objective, allow=options.allow_import)
    options.check_holds_out_fewer_than(len(train))
    check_pair(programs["model"], programs["guide"], train, objective)
    return programs["model"], programs["guide"], objective


def train_pair(
    options: TrainingOptions,
    pair: dict[str, Any],
    data: Data,
    show: Literal["negative_elbo", "bits_per_dim"],
    command: str,
) -> Run:
    """Build a pair, try it, create or open its run folder, and fit it."""
    rank, processes = join_processes(options.device)
    model, guide, objective = build_and_try(options, pair, data.train)
    run = Run(Path(options.out))
    if not options.resume:
        run.check_free(options.overwrite)
    with run.locked() if rank == 0 else nullcontext():
        if options.resume:
            run = Run.open(options.out)
            old, old_data = run.config, run.data
            check_can_be_continued(run, options, processes)
            of_every_process(rank)  # all have read it
            if rank == 0:
                run.write_config(options.config)
                if old_data:
                    run.write_data(data.record)  # it may lie in another place now
        elif rank == 0:
            steps = options.epochs * options.steps_an_epoch(len(data.train), processes)
            notes = {"products": options.best_products(steps)}
            run = Run.create(options.out, options.config, pair, options.overwrite, command, data.record, notes)
        of_every_process(rank)  # by now the folder is there
        if rank == 0:
            print(*map(one_line, data.lines), sep="\n", flush=True)
        try:
            fit(model, guide, data.train, data.test, options, objective, run, options.resume, show)
        except (ValueError, CheckpointError, RunError):  # nothing was continued
            if options.resume and rank == 0:
                run.write_config(old)
                if old_data:
                    run.write_data(old_data)
            raise
        finally:
            run.discard()
        if rank == 0:
            epochs = len(run.metrics())
            print(f"run written to {run.path}: last epoch {epochs}, {run.minutes:.1f} minutes")
    return run


# what may change when a run is resumed
MAY_CHANGE = {"out", "data_root", "epochs", "patience", "device", "tracker", "tensorboard", "on_nonfinite"}


def check_can_be_continued(run: Run, options: TrainingOptions, processes: int) -> None:
    """Check that a run can be resumed with these options by this many processes.

    Raises:
        ValueError: if not.
    """
    may_change = MAY_CHANGE | ({"dataset"} if (run.data or {}).get("path") else set())  # moved, but still the same
    refused = [name for name in changed(run.config, options) if name not in may_change]
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
