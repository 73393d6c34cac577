"""Stochastic variational inference: fit a model and its guide to data."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from pyro.infer import ELBO, Trace_ELBO
from torch import nn

from inference.data.protocol import DataSet
from inference.programs.checks import check_levels
from inference.programs.evaluation_mode import frozen_parts, modes_kept
from inference.programs.functions import as_modules, stored_afterwards
from inference.programs.param_store import param_store_unchanged
from inference.programs.terms import Terms, batches_joined
from inference.runs.run import Run
from inference.runs.trackers import Tracking
from inference.system.interrupts import Interrupted, Interrupts, noted_interrupts
from inference.system.processes import join_processes, of_every_process, rank_and_size, share_of
from inference.system.products import Products, chosen_products, products_by
from inference.system.randomness import (
    epoch_order,
    generator_states,
    generators_as_they_were,
    restore_generators,
    set_seed,
)
from inference.system.switches import gradients_on, switches_as_they_were, validating
from inference.training.alike import check_alike
from inference.training.display import Display, Metric
from inference.training.history import History, PartialEpoch, columns
from inference.training.measure import measure
from inference.training.nonfinite import NonFiniteCheck
from inference.training.settings import Settings
from inference.training.steps import Steps
from inference.training.trial import check_pair

_MEASURED_AT_ONCE = 5  # batches: without gradients they take the memory of less than one
_CHECKED_AT_ONCE = 50  # steps on a GPU, where every check waits for the device
_STREAMS = {"train": 0, "test": 1, "validation": 2, "train_pass": 3}  # of random numbers in an epoch


@switches_as_they_were()
@generators_as_they_were()
@gradients_on()
def fit(
    model: Callable,
    guide: Callable,
    train: DataSet,
    test: DataSet | None = None,
    settings: Settings | None = None,
    objective: ELBO | None = None,
    run: Run | None = None,
    resume: bool = False,
    show: Metric | None = "negative_elbo",
) -> list[dict[str, float]]:
    r"""Minimise the negative ELBO by AdamW over mini-batches; returns the metrics, one row an epoch.

    .. math:: \theta, \phi \leftarrow \mathrm{AdamW}\Big(\nabla \frac1B \sum_{b} -\mathrm{ELBO}_{\theta, \phi}(x_b)\Big)

    Everything random in an epoch depends on (seed, epoch, process) alone, so a resumed run repeats an
    uninterrupted one.  On Ctrl-C or SIGTERM it finishes the step and saves; of several processes each
    stops at once, and the checkpoint of the last epoch remains.  Afterwards every
    submodule is back in training or evaluation mode, as it was before; one in evaluation mode whose parameters are all
    frozen stays in evaluation mode throughout.

    Args:
        model: Pyro program p(x, latents): a module, or a function that keeps its parameters in Pyro's store with
            ``pyro.param`` and ``pyro.module``, where their values are afterwards.  Those that start from the data,
            ``pyro.param("loc", lambda: x.mean(0))``, see the first 200 observations.
        guide: Pyro program q(latents | x), likewise; if the model has no latents it draws nothing, and the loss is
            -log p(x).
        train: data to fit.
        test: data to measure after every epoch, if any; no choice depends on them.
        settings: of the training.
        objective: Pyro's estimator of the ELBO; ``Trace_ELBO()`` by default.
        run: folder for checkpoints and metrics.
        resume: continue from the run's last checkpoint.
        show: the metric to print after every epoch, "negative_elbo" (nats) or "bits_per_dim"; None prints and draws
            nothing.

    Raises:
        ValueError: if too many observations are held out, or model, guide, data and objective do not fit together.
        LookupError: if a function calls a parameter that was not there when it first ran.
        FloatingPointError: if a loss, a gradient or a metric is NaN or infinite; the last checkpoint stays.
        Interrupted: if it was asked to stop.
        RunError: if another process trains in the run's folder, another run has been written to it, or it holds a
            trained run that is not to be resumed.
        OSError: if the run's files cannot be written; existing ones stay intact.

    Source: Hoffman et al., "Stochastic variational inference" (2013); Kingma and Welling (2014).

    Example:
        >>> from inference import Settings, binarise, fit, load_dataset
        >>> from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal
        >>> train, test = (binarise(images, "dynamic") for images in load_dataset("digits"))
        >>> model = VAE(StandardNormal(2), MLPDecoder(2, (1, 8, 8), hidden=[20]))
        >>> guide = MeanFieldGuide(MLPEncoder((1, 8, 8), hidden=[20]), latent_dim=2)
        >>> rows = fit(model, guide, train, test, Settings(epochs=2, lr=0.01, device="cpu", compile="off"))
        epoch 1/2: negative elbo train ..., test ..., ... s
        epoch 2/2: negative elbo train ..., test ..., ... s
        >>> rows[1]["test_negative_elbo"] < rows[0]["test_negative_elbo"]
        True
    """
    settings, objective = settings or Settings(), objective or Trace_ELBO()
    device = settings.find_device()
    settings.check_dtype(device, train.arguments(slice(1))[0].dtype)
    settings.check_holds_out_fewer_than(len(train))
    if test is not None:
        check_alike(train, test)
        check_levels(model, test)
        check_levels(guide, test, half="guide")
    pair = as_modules(model, guide, train)
    unused = check_pair(*pair, train, objective)
    if run is not None and not resume:
        run.check_untrained()
    rank, processes = join_processes(settings.device)
    with run.locked() if run is not None and rank == 0 else nullcontext(), stored_afterwards(*pair), modes_kept(*pair):
        loop = Loop(*pair, train, test, settings, objective, run, device, unused=bool(unused))
        if resume:
            loop.resume()
            if show is not None and rank == 0:
                print(loop.continued(), flush=True)
        with (
            noted_interrupts(enabled=processes == 1, quiet=show is None) as loop.interrupts,
            products_by(loop.products),
            loop.shown(show) as loop.display,
        ):
            while not loop.done:
                loop.run_epoch()
                loop.stop_if_asked()
    if rank == 0:
        loop.history.warn_if_diverged()
    return loop.history.rows


class Loop:
    """The epochs of a run: what they train and measure, and how far they have come.

    Args:
        model: the generative half.
        guide: the inference half.
        train: data to fit; the settings may hold some of them out for validation.
        test: data to measure, if any.
        settings: of the training.
        objective: Pyro's estimator of the ELBO.
        run: folder for checkpoints and metrics.
        device: to train on.
        unused: whether the loss leaves parameters out.

    Raises:
        ValueError, RunError: as :func:`fit`.
    """

    display: Display
    interrupts: Interrupts

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        train: DataSet,
        test: DataSet | None,
        settings: Settings,
        objective: ELBO,
        run: Run | None,
        device: torch.device,
        unused: bool,
    ) -> None:
        self.model, self.guide, self.settings = model, guide, settings
        self.frozen = [*frozen_parts(model), *frozen_parts(guide)]
        self.device = device
        self.rank, self.processes = rank_and_size()
        self.tracking = Tracking(settings.tracked_by, run) if settings.tracked_by and self.rank == 0 else None
        if settings.tf32:
            torch.set_float32_matmul_precision("high")  # until ``fit`` returns
        self.train, validation = _hold_out(train.to(device), settings.num_validation, settings.seed)
        held_out = {"test": test.to(device) if test is not None else None, "validation": validation}
        self.measured = {name: data for name, data in held_out.items() if data is not None}
        for data in (self.train, *self.measured.values()):
            share_of(len(data))  # one at least for each process
        self.steps_an_epoch = settings.steps_an_epoch(len(train), self.processes)
        num_steps = settings.epochs * self.steps_an_epoch
        self.steps = Steps(objective, model, guide, settings, device, num_steps, unused)
        if run is not None:
            run.check_unchanged()
            run.check_room(sum(parameter.nbytes for parameter in self.steps.module.parameters()))
        self.history = History(run, of_every_process(settings.best_products(num_steps))[0])

    def resume(self) -> None:
        """Continue from the run's last checkpoint.

        Raises:
            ValueError: if there is no run, the epoch under way is beyond the last, or other sets were measured before.
            CheckpointError, RunError: as :meth:`History.resume`.
        """
        self.history.resume(self.model, self.guide, self.steps.optimizer)
        for split in ("test", "validation") if self.history.rows else ():
            if (f"{split}_negative_elbo" in self.history.rows[0]) != (split in self.measured):
                had = "without" if split in self.measured else "with"
                raise ValueError(f"this run was begun {had} {split} data: give the same sets, or begin another run")
        if self.history.partial and self.settings.epochs <= self.history.epoch:
            raise ValueError(f"epoch {self.history.epoch + 1} is under way: give as many epochs, or more")

    def continued(self) -> str:
        """In words, where the run goes on."""
        run, epoch, of = self.history.run, self.history.epoch, self.settings.epochs
        path = run.path if run is not None else "the run"
        if self.history.partial:
            return f"continuing {path} within epoch {epoch + 1} of {of}"
        if epoch == 0:
            return f"starting {path} again from epoch 1 of {of}"
        return f"continuing {path} after epoch {epoch} of {of}"

    @property
    def products(self) -> Products:
        """What multiplies matrices: what the run began with, where this machine can."""
        return chosen_products(self.history.products, long=False, device=self.device)

    @property
    def done(self) -> bool:
        """Whether all epochs are done, or patience has run out."""
        patience = self.settings.patience
        out_of_patience = patience is not None and self.history.epochs_since_best >= patience
        return out_of_patience or self.history.epoch >= self.settings.epochs

    def run_epoch(self) -> None:
        """Train, measure, save and report."""
        partial = self.history.partial
        started = time.perf_counter() - (partial.seconds if partial else 0.0)
        with validating(False), param_store_unchanged(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Encountered (NaN|\\+|-)")  # NonFiniteCheck reports it in one line
            warnings.filterwarnings("ignore", ".* was not registered in the param store")  # as frozen ones are not
            terms = batches_joined(self.train_epoch())
        row = self.metrics(terms)
        self.history.add(row | {"seconds": time.perf_counter() - started})
        if self.rank == 0:
            self.save()
            self.display.add_epoch(self.history.rows[-1])

    def train_epoch(self) -> list[Terms]:
        """Take an epoch's steps, or the rest of an interrupted one; returns the terms of all its steps."""
        started = time.perf_counter()
        set_seed(*self.place("train"))
        partial = self.history.partial or PartialEpoch(0, 0.0, 0.0, [], {})
        restore_generators(partial.generators, self.device)
        self.steps.module.train()
        for part in self.frozen:
            part.eval()
        check = self.new_check(partial.terms)
        first, batch_size = self.history.epoch * self.steps_an_epoch, self.settings.batch_size
        order = epoch_order(len(self.train), self.settings.seed, self.history.epoch, self.rank, self.processes)
        batches = self.train.batches(batch_size, order[partial.step * batch_size :])
        for step, data in enumerate(batches, partial.step):
            draws = torch.get_rng_state()
            full = len(data[0]) == min(batch_size, len(order))
            check.add(step, data, draws, *self.steps(data, first + step, full))
            self.display.add_step(self.history.epoch + 1, check.terms.latest, self.train)
            if self.interrupts.signum is not None and step + 1 < self.steps_an_epoch:
                check.run()
                self.save_partial(step + 1, partial.seconds + time.perf_counter() - started, check.terms.all())
                self.stop_if_asked()
        return check.finish()

    def metrics(self, terms: list[Terms]) -> dict[str, float]:
        """The epoch's row: the learning rate, then the terms of training and of the other data."""
        if self.settings.full_train_pass:
            terms = self.measure(self.train, "train_pass")
        row = {"lr": self.steps.optimizer.param_groups[0]["lr"], **columns("train", terms, self.train)}
        for name, data in self.measured.items():
            row |= columns(name, self.measure(data, name), data)
        if self.settings.on_nonfinite == "stop":
            _check_finite(row, self.history.epoch + 1)
        return row

    def measure(self, data: DataSet, stream: str) -> list[Terms]:
        batch_size = _MEASURED_AT_ONCE * self.settings.batch_size
        return measure(self.model, self.guide, data, batch_size, self.place(stream))

    def place(self, stream: str) -> tuple[int, ...]:
        """What the random numbers of a stream depend on."""
        return self.settings.seed, self.history.epoch, self.rank, _STREAMS[stream]

    def save(self) -> None:
        self.history.save(self.model, self.guide, self.steps.optimizer)

    def save_partial(self, steps: int, seconds: float, terms: list[Terms]) -> None:
        """Save an epoch after some of its steps."""
        part, generators = steps / self.steps_an_epoch, generator_states(self.device)
        self.history.partial = PartialEpoch(steps, part, seconds, terms, generators)
        self.save()

    def stop_if_asked(self) -> None:
        """Stop the run if a signal has asked for it, unless it is complete.

        Raises:
            Interrupted: to stop.
        """
        if self.interrupts.signum is not None and self.history.epoch < self.settings.epochs:
            hint = "; --resume continues it" if self.history.run else ""
            raise Interrupted(f"interrupted in epoch {self.history.epoch + 1}{hint}", self.interrupts.signum)

    def new_check(self, terms: list[Terms]) -> NonFiniteCheck:
        """A check of the epoch's steps; ``terms`` are those of the steps before an interruption."""
        return NonFiniteCheck(
            self.steps.eager,
            f"epoch {self.history.epoch + 1}",
            terms,
            skip=self.settings.on_nonfinite == "skip",
            every=1 if self.device.type == "cpu" else _CHECKED_AT_ONCE,
            autocast=self.steps.autocast,
        )

    @contextmanager
    def shown(self, metric: Metric | None) -> Iterator[Display]:
        """Show progress, and name the checkpoint that is kept in an error about a number that is not finite."""
        partial, history = self.history.partial, self.history
        taken = history.epoch * self.steps_an_epoch + (partial.step if partial else 0)
        try:
            with Display(metric, self.settings.epochs, self.steps_an_epoch, taken, self.tracking) as display:
                yield display
        except FloatingPointError as error:
            kept = f"; the checkpoint of epoch {history.epoch} is kept" if history.run and history.epoch else ""
            raise FloatingPointError(f"{error}{kept}") from error


def _hold_out(train: DataSet, num_validation: int, seed: int) -> tuple[DataSet, DataSet | None]:
    if not num_validation:
        return train, None
    order = epoch_order(len(train), seed, epoch=0)
    return train.take(order[num_validation:]), train.take(order[:num_validation])


def _check_finite(row: dict[str, float], epoch: int) -> None:
    for name, value in row.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {value} after epoch {epoch}; try a lower lr, or clip_norm 10")
