"""Stochastic variational inference: fit a model and its guide to images."""

import math
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from pyro.infer import ELBO, Trace_ELBO
from torch import Tensor, nn

from inference.data.images import Images
from inference.programs.checks import check_levels
from inference.programs.param_store import param_store_as_it_was
from inference.programs.support import check_observed
from inference.programs.terms import Terms, batches_joined, check_plates, draw_traces, elbo_terms
from inference.runs.run import Run
from inference.runs.tensorboard import TensorBoard
from inference.system.interrupts import Interrupted, Interrupts, noted_interrupts
from inference.system.processes import join_processes, rank_and_size, share_of
from inference.system.progress import Bar
from inference.system.randomness import epoch_order, generator_states, restore_generators, set_seed
from inference.system.switches import switches_as_they_were, validating
from inference.training.finite import Watch
from inference.training.history import Begun, History, columns
from inference.training.settings import Settings
from inference.training.steps import Steps
from inference.training.trial import check_pair

_MEASURED_AT_ONCE = 5  # batches: without gradients they take the memory of less than one
_LOOKED_AT_ONCE = 50  # steps on a GPU, each of which a look would wait for
_STREAMS = {"train": 0, "test": 1, "validation": 2, "train_pass": 3}  # of random numbers in an epoch


@switches_as_they_were()
def fit(
    model: nn.Module,
    guide: nn.Module,
    train: Images,
    test: Images,
    settings: Settings | None = None,
    objective: ELBO | None = None,
    run: Run | None = None,
    resume: bool = False,
    show: Literal["negative_elbo", "bits_per_dim"] | None = "negative_elbo",
) -> list[dict[str, float]]:
    r"""Minimise the negative ELBO by AdamW over mini-batches; returns the metrics, one row an epoch.

    .. math:: \theta, \phi \leftarrow \mathrm{AdamW}\Big(\nabla \frac1B \sum_{b} -\mathrm{ELBO}_{\theta, \phi}(x_b)\Big)

    All that is random in an epoch depends on (seed, epoch, process) alone, so that a resumed run
    repeats one that was never interrupted.  Asked to stop, by Ctrl-C or SIGTERM, it finishes the
    step and saves; of several processes each stops at once, and the last epoch is what is saved.

    Args:
        model: Pyro program p(x, latents).
        guide: Pyro program q(latents | x).
        train: images to fit.
        test: images to measure after every epoch; nothing is chosen by them.
        settings: of the training.
        objective: Pyro's estimator of the ELBO; ``Trace_ELBO()`` if not given.
        run: folder for checkpoints and metrics.
        resume: continue from the run's last checkpoint.
        show: the metric to print after every epoch, "negative_elbo" (nats) or "bits_per_dim"; None prints nothing.

    Raises:
        ValueError: if more images are to be held out than there are, or model, guide, images and
            objective do not fit together.
        FloatingPointError: if a loss, a gradient or a measured number is NaN or infinite; it names the
            step and the site, and the last checkpoint stays.
        Interrupted: if it was asked to stop.
        RunError: if another process trains in the run's folder, or another run has been written to it.
        OSError: if the run's files cannot be written; those that are there stay whole.

    Source: Hoffman et al., "Stochastic variational inference" (2013); Kingma and Welling (2014).
    """
    settings = settings or Settings()
    objective = objective or Trace_ELBO()
    device = settings.find_device()
    settings.check_holds_out_fewer_than(len(train))
    unused = check_pair(model, guide, train, objective)
    rank, _ = join_processes(settings.device)
    with run.locked() if run is not None and rank == 0 else nullcontext():
        return _fit(model, guide, train, test, settings, objective, run, resume, show, device, unused)


def _fit(
    model: nn.Module,
    guide: nn.Module,
    train: Images,
    test: Images,
    settings: Settings,
    objective: ELBO,
    run: Run | None,
    resume: bool,
    show: Literal["negative_elbo", "bits_per_dim"] | None,
    device: torch.device,
    unused: Collection[str],
) -> list[dict[str, float]]:
    rank, world_size = rank_and_size()
    board = TensorBoard(run) if settings.tensorboard and rank == 0 else None
    if settings.tf32:
        torch.set_float32_matmul_precision("high")
    train, validation = _hold_out(train.to(device), settings.num_validation, settings.seed)
    splits = {"test": test.to(device)} | ({"validation": validation} if validation else {})
    for images in (train, *splits.values()):
        share_of(len(images))  # there is one for each process
    num_steps = math.ceil(len(train) // world_size / settings.batch_size)
    steps = Steps(objective, model, guide, settings, device, settings.epochs * num_steps, unused=bool(unused))
    if run is not None:
        run.check_unchanged()
        run.check_room(sum(parameter.nbytes for parameter in steps.module.parameters()))
    history = History(run)
    if resume:
        history.resume(model, guide, steps.optimizer)
    if history.begun and settings.epochs <= history.epoch:
        raise ValueError(f"epoch {history.epoch + 1} is under way: give as many epochs, or more")

    bar = Bar(
        "training",
        total=settings.epochs * num_steps,
        unit="steps",
        initial=history.epoch * num_steps + (history.begun.step if history.begun else 0),
        quiet=show is None,
    )

    def place(stream: str) -> tuple[int, ...]:
        return settings.seed, history.epoch, rank, _STREAMS[stream]

    def measured(images: Images, stream: str) -> list[Terms]:
        return measure(model, guide, images, _MEASURED_AT_ONCE * settings.batch_size, place(stream))

    def train_epoch(interrupts: Interrupts) -> list[Terms]:
        started = time.perf_counter()
        set_seed(*place("train"))
        begun = history.begun or Begun(0, 0.0, 0.0, [], {})
        restore_generators(begun.generators, device)
        steps.module.train()
        watch = Watch(
            steps.eager,
            f"epoch {history.epoch + 1}",
            begun.terms,
            skip=settings.on_nonfinite == "skip",
            every=1 if device.type == "cpu" else _LOOKED_AT_ONCE,
            autocast=steps.autocast,
        )
        order = epoch_order(len(train), settings.seed, history.epoch, rank, world_size)
        batches = train.batches(settings.batch_size, order[begun.step * settings.batch_size :])
        for step, data in enumerate(batches, begun.step):
            draws = torch.get_rng_state()
            full = len(data[0]) == min(settings.batch_size, len(order))
            watch.add(step, data, draws, *steps(data, history.epoch * num_steps + step, full))
            if bar.update() and watch.terms and show:
                value = columns("", watch.terms[-20:], train.image_shape)[f"_{show}"]
                bar.set_postfix_str(f"epoch {history.epoch + 1}, {_words(show)} {value:.3f}", refresh=False)
            if interrupts.signum is not None and step + 1 < num_steps:
                watch.look()
                seconds = begun.seconds + time.perf_counter() - started
                part = (step + 1) / num_steps
                history.begun = Begun(step + 1, part, seconds, watch.terms, generator_states(device))
                history.save(model, guide, steps.optimizer)
                raise interrupted(interrupts.signum)
        return watch.finished()

    def interrupted(signum: int) -> Interrupted:
        return Interrupted(
            f"interrupted in epoch {history.epoch + 1}{'; --resume continues it' if run else ''}", signum
        )

    with noted_interrupts(enabled=world_size == 1) as interrupts, _told_what_is_kept(history), bar:
        while history.epoch < settings.epochs:
            if settings.patience is not None and history.epochs_since_best >= settings.patience:
                break
            started = time.perf_counter() - (history.begun.seconds if history.begun else 0.0)
            with validating(False), param_store_as_it_was(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Encountered (NaN|\\+|-)")  # told in one line by the watch
                warnings.filterwarnings("ignore", ".* was not registered in the param store")  # frozen ones are not
                terms = batches_joined(train_epoch(interrupts))
            if settings.full_train_pass:
                terms = measured(train, "train_pass")
            row = {"lr": steps.optimizer.param_groups[0]["lr"], **columns("train", terms, train.image_shape)}
            for name, images in splits.items():
                row |= columns(name, measured(images, name), images.image_shape)
            if settings.on_nonfinite == "stop":
                _check_finite(row, history.epoch + 1)
            history.add(row | {"seconds": time.perf_counter() - started})
            if rank == 0:
                history.save(model, guide, steps.optimizer)
                if show is not None:
                    _report(history, settings, show, bar)
            if board is not None:
                board.add(row, history.epoch)
            if interrupts.signum is not None and history.epoch < settings.epochs:
                raise interrupted(interrupts.signum)
        bar.finish()
    if board is not None:
        board.close()
    return history.rows


@torch.no_grad()
def measure(
    model: Callable, guide: Callable, images: Images, batch_size: int, place: tuple[int, ...] = (0,)
) -> list[Terms]:
    """The terms of the negative ELBO on every batch, one draw of the latents for each image.

    Modules are put into evaluation mode; ``place`` seeds the draws.  Of several processes each
    measures its share of the images, and all return the terms of all.

    Raises:
        ValueError: if the images are not the model's, or hold what it could not draw.
    """
    check_levels(model, images)
    for program in (model, guide):
        if isinstance(program, nn.Module):
            program.eval()
    set_seed(*place)
    with validating(False):
        batches = images.batches(batch_size, share_of(len(images)))
        return batches_joined([_checked_terms(model, guide, *data) for data in batches])


def _checked_terms(model: Callable, guide: Callable, *data: Tensor) -> Terms:
    model_trace, guide_trace = draw_traces(model, guide, *data)
    check_plates(len(data[0]), model_trace, guide_trace)
    check_observed(model_trace)
    return elbo_terms(model_trace, guide_trace)


def _hold_out(train: Images, num_validation: int, seed: int) -> tuple[Images, Images | None]:
    if not num_validation:
        return train, None
    order = epoch_order(len(train), seed, epoch=0)
    return train.take(order[num_validation:]), train.take(order[:num_validation])


@contextmanager
def _told_what_is_kept(history: History) -> Iterator[None]:
    try:
        yield
    except FloatingPointError as error:
        kept = f"; the checkpoint of epoch {history.epoch} is kept" if history.run and history.epoch else ""
        raise FloatingPointError(f"{error}{kept}") from error


def _check_finite(row: dict[str, float], epoch: int) -> None:
    for name, value in row.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {value} after epoch {epoch}; try a lower lr, or clip_norm 10")


def _report(history: History, settings: Settings, show: str, bar: Bar) -> None:
    row, epochs = history.rows[-1], f"epoch {history.epoch}/{settings.epochs}"
    train, test = (f"{split} {row[f'{split}_{show}']:.3f}" for split in ("train", "test"))
    bar.set_postfix_str(f"{epochs}, {test}", refresh=False)
    bar.say(f"{epochs}: {_words(show)} {train}, {test}, {row['seconds']:.1f} s")


def _words(name: str) -> str:
    return name.replace("_", " ")
