"""Trackers of experiments that a run's metrics can also go to."""

import hashlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from inference.runs.run import Run


class Tracker(Protocol):
    """Where the metrics of every epoch go; it is made from the run with the first of them.

    Closing it says whether the training finished; one that was interrupted or failed may be resumed.
    """

    def add(self, row: dict[str, float], epoch: int) -> None: ...

    def close(self, finished: bool) -> None: ...


class TensorBoard:
    """Writes event files into the folder "tensorboard" of the run."""

    def __init__(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self.writer = SummaryWriter(run.path / "tensorboard")

    def add(self, row: dict[str, float], epoch: int) -> None:
        for name, value in row.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def close(self, finished: bool) -> None:
        self.writer.close()


class WandB:
    """Logs to Weights & Biases: to the user's account, or offline into the run's folder with ``WANDB_MODE=offline``."""

    def __init__(self, run: Run) -> None:
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "pyro-models"),
            id=identity(run),
            resume="allow",
            name=run.path.resolve().name,
            config=dict(flat(run.config)),
            dir=run.path,
            settings=wandb.Settings(console="off", disable_code=True, silent=True),
        )

    def add(self, row: dict[str, float], epoch: int) -> None:
        self.run.log(row, step=epoch)

    def close(self, finished: bool) -> None:
        self.run.finish(exit_code=0 if finished else 1)


class MLflow:
    """Logs to the MLflow server or store of ``MLFLOW_TRACKING_URI``."""

    def __init__(self, run: Run) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "pyro-models")
        experiment = self.client.get_experiment_by_name(name)
        place = self.client.create_experiment(name) if experiment is None else experiment.experiment_id
        own = identity(run)
        found = self.client.search_runs([place], f"tags.`pyro_models.id` = '{own}'")
        if found:
            self.id = found[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
        else:
            made = self.client.create_run(place, tags={"pyro_models.id": own}, run_name=run.path.resolve().name)
            self.id = made.info.run_id
            for option, value in flat(run.config):
                self.client.log_param(self.id, option, str(value)[:500])

    def add(self, row: dict[str, float], epoch: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.id, [Metric(name, value, now, epoch) for name, value in row.items()])

    def close(self, finished: bool) -> None:
        self.client.set_terminated(self.id, status="FINISHED" if finished else "KILLED")


_PATIENCE = {  # with servers that do not answer; the libraries would let a training wait for minutes, or without end
    "WANDB_INIT_TIMEOUT": "30",
    "WANDB_FINISH_TIMEOUT": "60",  # seconds; what was not sent by then stays in the run's folder, for wandb sync
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
TRACKERS: dict[str, Callable[[Run], Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


class Tracking:
    """A tracker of a run that starts with the first row, and whose failure ends the tracking, not the training.

    Args:
        name: of the tracker.
        run: the run.

    Raises:
        ValueError: if there is no run.
    """

    def __init__(self, name: str, run: Run | None) -> None:
        if run is None:
            raise ValueError(f"{name} needs a run folder to write to: give one, or train without")
        self.name, self.run = name, run
        self.tracker: Tracker | None = None
        self.failed = False

    def add(self, row: dict[str, float], epoch: int) -> None:
        self._try(lambda: self._started().add(row, epoch))

    def close(self, finished: bool) -> None:
        tracker = self.tracker
        if tracker is not None:
            self._try(lambda: tracker.close(finished))

    def _started(self) -> Tracker:
        if self.tracker is None:
            for name, value in _PATIENCE.items():
                os.environ.setdefault(name, value)
            with _asking_nothing():
                self.tracker = TRACKERS[self.name](self.run)
        return self.tracker

    def _try(self, step: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            step()
        except (Exception, SystemExit) as error:  # from a library, a network or a disk
            self.failed = True
            first = str(error).strip().partition("\n")[0]
            warnings.warn(
                f"{self.name} failed ({type(error).__name__}: {first}): training goes on without it",
                stacklevel=2,
            )


@contextmanager
def _asking_nothing() -> Iterator[None]:
    """Within, standard input is at its end: a library that would ask for a login fails instead of waiting for one."""
    before = sys.stdin
    with open(os.devnull) as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = before


def identity(run: Run) -> str:
    """A name for the run in a tracker, which a resumed run keeps: a digest of what began it."""
    return hashlib.sha256((run.files / "environment.json").read_bytes()).hexdigest()[:32]


def flat(options: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Options as pairs of a dotted name and a value."""
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
