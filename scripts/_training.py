"""What the two training scripts share: options, data, the run folder and the fit."""

from pathlib import Path
from typing import Any

import yaml
from _cli import Choice, Parser
from jsonargparse import Namespace
from pyro.infer import ELBO

from inference import DATASETS, Images, Run, Settings, binarise, build, fit, load_dataset, set_seed

OBJECTIVE = Choice(
    "objective", ("Trace_ELBO", "TraceMeanField_ELBO"), "estimator of the ELBO", package="pyro.infer", base=ELBO
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
    parser.add_class_arguments(Settings)
    parser.set_defaults(defaults)


def settings_of(options: Namespace) -> Settings:
    return Settings(**{name: value for name, value in options.items() if name in Settings.__dataclass_fields__})


def load_images(options: Namespace, binarisation: str | None = None) -> tuple[Images, Images]:
    settings_of(options)  # refuses bad values before anything is loaded
    if not (options.resume or options.overwrite):
        Run(Path(options.out)).check_free()
    train, test = load_dataset(options.dataset, options.data_root)
    if binarisation is None:
        return train, test
    return binarise(train, binarisation, options.seed), binarise(test, binarisation, options.seed)


def train_pair(
    parser: Parser, options: Namespace, pair: dict[str, Any], train: Images, test: Images, show: str
) -> None:
    """Build the pair, open or continue its run folder, fit."""
    settings = settings_of(options)
    set_seed(settings.seed)
    programs = build(pair, allow=None)  # the parts were named by the person who runs this
    objective = build(options.objective.as_dict(), allow=None)
    if options.resume:
        run = Run.open(options.out)
    else:
        run = Run.create(options.out, yaml.safe_load(parser.dump(options)), pair, options.overwrite)
    fit(programs["model"], programs["guide"], train, test, settings, objective, run, options.resume, show)
    print(f"run written to {run.path}: last epoch {len(run.metrics())}, {run.minutes:.1f} minutes")
