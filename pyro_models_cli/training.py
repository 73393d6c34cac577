"""What the two training scripts share: options, data, the run folder and the fit."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from pyro.infer import ELBO
from torch import nn

from inference import CheckpointError, Images, Run, RunError, Settings, build, check_pair, fit, set_seed
from inference.data.datasets import DATASETS
from inference.system.processes import join_processes, of_every_process
from pyro_models_cli.parser import Choice, Parser, config_of, defaults_of, with_defaults
from pyro_models_cli.trained import images_of

OBJECTIVE = Choice(
    "objective",
    ("Trace_ELBO", "TraceMeanField_ELBO", "RenyiELBO", "DReG", "STL", "BetaELBO"),
    "bound that is maximised",
)


def add_training_options(parser: Parser, **defaults: Any) -> None:
    """Data, output and the settings of the fit; ``defaults`` replace those of ``inference.Settings``."""
    parser.add_argument("--dataset", choices=list(DATASETS), default="mnist", help="images to train on")
    parser.add_argument(
        "--data_root",
        type=str | None,
        default=None,
        help="folder of the data sets; by default $PYRO_MODELS_DATA, else the user's cache folder",
    )
    parser.add_argument("--out", type=str, required=True, help="folder for the run")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in that folder")
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder, with its options")
    own = "packages of your own that a configuration may name"
    parser.add_argument("--allow_import", type=str, nargs="+", default=[], help=own)
    parser.add_class_arguments(Settings)
    parser.set_defaults(defaults)


def settings_of(options: Namespace) -> Settings:
    return Settings(**{name: value for name, value in options.items() if name in Settings.__dataclass_fields__})


def load_images(parser: Parser, options: Namespace) -> tuple[Images, Images]:
    """The training and the test images, once the cheaper checks have passed."""
    settings_of(options).find_device()
    if not (options.resume or options.overwrite):
        Run(Path(options.out)).check_free()
    return images_of(options.as_dict(), options.data_root if "data_root" in parser.typed else None)


def labels_known(train: Images) -> dict[str, int]:
    """What the parts of a conditional pair need to know of the labels."""
    return {"num_classes": train.num_classes, "context": train.num_classes} if train.conditional else {}


def build_and_try(
    parser: Parser, options: Namespace, pair: dict[str, Any], train: Images
) -> tuple[nn.Module, nn.Module, ELBO]:
    """Model, guide and objective, once they have seen two images: before a run that is there is touched."""
    settings = settings_of(options)
    set_seed(settings.seed)
    programs = build(pair, allow=parser.allowed)
    objective = build(options.objective, allow=parser.allowed)
    settings.check_holds_out_fewer_than(len(train))
    check_pair(programs["model"], programs["guide"], train, objective)
    return programs["model"], programs["guide"], objective


def train_pair(
    parser: Parser,
    options: Namespace,
    pair: dict[str, Any],
    train: Images,
    test: Images,
    show: Literal["negative_elbo", "bits_per_dim"],
) -> None:
    """Build the pair, try it, open or continue its run folder, fit."""
    settings = settings_of(options)
    config = config_of(options, parser.choices)
    rank, processes = join_processes(settings.device)
    model, guide, objective = build_and_try(parser, options, pair, train)
    run = Run(Path(options.out))
    if not options.resume:
        run.check_free(options.overwrite)
    with run.locked() if rank == 0 else nullcontext():
        if options.resume:
            run = Run.open(options.out)
            old = run.config
            before = defaults_of(parser) | old  # an option that is newer than the run had its default
            refuse_changes(before, config, parser.allowed)
            check_can_be_continued(run, settings, processes)
            of_every_process(rank)  # all have read it
            if rank == 0:
                run.write_config(config)
        elif rank == 0:
            run = Run.create(options.out, config, pair, options.overwrite)
        of_every_process(rank)  # by now the folder is there
        try:
            fit(model, guide, train, test, settings, objective, run, options.resume, show)
        except (ValueError, CheckpointError, RunError):  # nothing was continued
            if options.resume and rank == 0:
                run.write_config(old)
            raise
        finally:
            run.discard()
        if rank == 0:
            print(f"run written to {run.path}: last epoch {len(run.metrics())}, {run.minutes:.1f} minutes")


def check_can_be_continued(run: Run, settings: Settings, processes: int) -> None:
    """Make sure that so many processes may go on with a run, and to so many epochs.

    Raises:
        ValueError: if not.
    """
    before = run.environment.get("processes", 1)
    if before != processes:
        raise ValueError(f"the run is one of {before} process(es), and cannot be continued by {processes}")
    done = len(run.metrics())
    if settings.epochs < done:
        raise ValueError(f"the run has {done} epochs already; give --epochs {done} or more")


# what a continuation may change and still be the same run, longer or elsewhere
MAY_CHANGE = {
    *("config", "resume", "overwrite", "allow_import", "out", "data_root"),
    *("epochs", "patience", "device", "tensorboard", "on_nonfinite"),
}


def refuse_changes(before: dict[str, Any], now: dict[str, Any], allow: Sequence[str]) -> None:
    """Refuse to continue a run with other options; one that it did not know had its default."""
    whole = [{key: with_defaults(value, allow) for key, value in config.items()} for config in (before, now)]
    plain = json.loads(json.dumps(whole))
    changed = sorted(key for key in before.keys() | now.keys() if plain[0].get(key) != plain[1].get(key))
    refused = [key for key in changed if key not in MAY_CHANGE]
    if refused:
        raise ValueError(
            f"--resume continues a run as it was, and cannot change {', '.join(refused)}: "
            "leave the option out, or start a new run in another folder"
        )
