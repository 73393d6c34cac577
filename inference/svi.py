"""Stochastic variational inference: fit a model and its guide to images."""

import math
import sys
import time
import warnings
from collections.abc import Callable

import pyro
import torch
from pyro.infer import ELBO, Trace_ELBO
from torch import nn
from tqdm import tqdm

from inference.check import check_levels, check_pair
from inference.compiled import CompiledObjective
from inference.history import History, columns
from inference.images import Images
from inference.objective import Objective
from inference.param_store import param_store_as_it_was
from inference.processes import batches_joined, share_of
from inference.randomness import epoch_order, set_seed
from inference.run import Run
from inference.settings import Settings
from inference.terms import Terms, draw_traces, elbo_terms, mean_terms

_MEASURED_AT_ONCE = 5  # batches: without gradients they take the memory of less than one
_STREAMS = {"train": 0, "test": 1, "validation": 2, "train_pass": 3}  # of random numbers in an epoch


def fit(
    model: nn.Module,
    guide: nn.Module,
    train: Images,
    test: Images,
    settings: Settings | None = None,
    objective: ELBO | None = None,
    run: Run | None = None,
    resume: bool = False,
    show: str = "negative_elbo",
) -> list[dict[str, float]]:
    r"""Minimise the negative ELBO by AdamW over mini-batches; returns the metrics, one row an epoch.

    .. math:: \theta, \phi \leftarrow \mathrm{AdamW}\Big(\nabla \frac1B \sum_{b} -\mathrm{ELBO}_{\theta, \phi}(x_b)\Big)

    All that is random in an epoch depends on (seed, epoch, process) alone, so that a resumed run
    repeats one that was never interrupted.

    Args:
        model: Pyro program p(x, latents).
        guide: Pyro program q(latents | x).
        train: images to fit.
        test: images to measure after every epoch; nothing is chosen by them.
        settings: of the training.
        objective: Pyro's estimator of the ELBO; ``Trace_ELBO()`` if not given.
        run: folder for checkpoints and metrics.
        resume: continue from the run's last checkpoint.
        show: the metric on the progress bar, "negative_elbo" (nats) or "bits_per_dim".

    Raises:
        ValueError: if more images are to be held out than there are, or model, guide, images and
            objective do not fit together.
        FloatingPointError: if the negative ELBO becomes NaN or infinite; the last checkpoint stays.

    Source: Hoffman et al., "Stochastic variational inference" (2013); Kingma and Welling (2014).
    """
    from accelerate import Accelerator  # slow to import, and needed only here

    settings = settings or Settings()
    objective = objective or Trace_ELBO()
    settings.check_holds_out_fewer_than(len(train))
    check_pair(model, guide, train, objective)
    accelerator = Accelerator(
        cpu=settings.device == "cpu",
        mixed_precision=settings.mixed_precision,
        log_with="tensorboard" if settings.tensorboard else None,
        project_dir=run.path if run else None,
    )
    if settings.tensorboard:
        accelerator.init_trackers("tensorboard")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.tf32
    rank, world_size, main = accelerator.process_index, accelerator.num_processes, accelerator.is_main_process

    train, validation = _hold_out(train.to(accelerator.device), settings.num_validation, settings.seed)
    splits = {"test": test.to(accelerator.device)} | ({"validation": validation} if validation else {})
    steps = math.ceil(len(train) // world_size / settings.batch_size)
    module = CompiledObjective(Objective(objective, model, guide)).to(accelerator.device)
    compiles = settings.compiles(settings.epochs * steps)
    optimizer = torch.optim.AdamW(module.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    history = History(run)
    if resume:
        history.resume(model, guide, optimizer)
    step_module, stepper = accelerator.prepare(module, optimizer)

    bar = tqdm(
        total=settings.epochs * steps,
        initial=history.epoch * steps,
        disable=not (main and sys.stderr.isatty()),
        unit="step",
        mininterval=0.3,
    )

    def place(stream: str) -> tuple[int, ...]:
        return settings.seed, history.epoch, rank, _STREAMS[stream]

    def measured(images: Images, stream: str) -> list[Terms]:
        return measure(model, guide, images, _MEASURED_AT_ONCE * settings.batch_size, place(stream))

    def train_epoch() -> list[Terms]:
        set_seed(*place("train"))
        module.train()
        order = epoch_order(len(train), settings.seed, history.epoch, rank, world_size)
        terms: list[Terms] = []
        for data in train.batches(settings.batch_size, order):
            progress = (history.epoch + len(terms) / steps) / settings.epochs
            for group in optimizer.param_groups:
                group["lr"] = settings.lr_at(progress)
            if hasattr(objective, "progress"):
                objective.progress = progress
            # full batches alone, and not the first step, in which what initialises itself by data does so
            module.enabled = compiles and progress > 0 and len(data[0]) == min(settings.batch_size, len(order))
            stepper.zero_grad(set_to_none=True)
            loss, step_terms = step_module(*data)
            accelerator.backward(loss)
            if settings.clip_norm is not None:
                accelerator.clip_grad_norm_(module.parameters(), settings.clip_norm)
            stepper.step()
            terms.append(step_terms)
            if bar.update():
                value = columns("", terms[-20:], train.image_shape)[f"_{show}"]
                bar.set_postfix_str(f"epoch {history.epoch + 1}, {show.replace('_', ' ')} {value:.3f}", refresh=False)
        return terms

    while history.epoch < settings.epochs:
        if settings.patience is not None and history.epochs_since_best >= settings.patience:
            break
        started = time.perf_counter()
        with pyro.validation_enabled(False), param_store_as_it_was(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Encountered (NaN|\\+|-)")  # told in one line below
            warnings.filterwarnings("ignore", ".* was not registered in the param store")  # frozen ones are not
            terms = batches_joined(train_epoch())
        _check_finite(terms, history)
        if settings.full_train_pass:
            terms = measured(train, "train_pass")
        row = {"lr": optimizer.param_groups[0]["lr"], **columns("train", terms, train.image_shape)}
        for name, images in splits.items():
            row |= columns(name, measured(images, name), images.image_shape)
        history.add(row | {"seconds": time.perf_counter() - started})
        if main:
            history.save(model, guide, optimizer)
            _report(history, settings, show, quiet=not bar.disable)
        accelerator.log(row, step=history.epoch)
    bar.close()
    for tracker in accelerator.trackers:
        tracker.finish()
    return history.rows


@torch.no_grad()
def measure(
    model: Callable, guide: Callable, images: Images, batch_size: int, place: tuple[int, ...] = (0,)
) -> list[Terms]:
    """The terms of the negative ELBO on every batch, one draw of the latents for each image.

    Modules are put into evaluation mode; ``place`` seeds the draws.  Of several processes each
    measures its share of the images, and all return the terms of all.
    """
    check_levels(model, images)
    for program in (model, guide):
        if isinstance(program, nn.Module):
            program.eval()
    set_seed(*place)
    with pyro.validation_enabled(False):
        batches = images.batches(batch_size, share_of(len(images)))
        return batches_joined([elbo_terms(*draw_traces(model, guide, *data)) for data in batches])


def _hold_out(train: Images, num_validation: int, seed: int) -> tuple[Images, Images | None]:
    if not num_validation:
        return train, None
    order = epoch_order(len(train), seed, epoch=0)
    return train.take(order[num_validation:]), train.take(order[:num_validation])


def _check_finite(terms: list[Terms], history: History) -> None:
    value = float(mean_terms(terms).negative_elbo)
    if not math.isfinite(value):
        kept = f"; the checkpoint of epoch {history.epoch} is kept" if history.run and history.epoch else ""
        raise FloatingPointError(
            f"the negative ELBO became {value} in epoch {history.epoch + 1}: try a lower lr, or clip_norm 10{kept}"
        )


def _report(history: History, settings: Settings, show: str, quiet: bool) -> None:
    row = history.rows[-1]
    line = (
        f"epoch {history.epoch}/{settings.epochs}: {show.replace('_', ' ')} train {row[f'train_{show}']:.3f}, "
        f"test {row[f'test_{show}']:.3f}, {row['seconds']:.1f} s"
    )
    if not quiet:
        print(line, flush=True)
