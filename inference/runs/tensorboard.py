"""Metrics for TensorBoard."""

from typing import Any

from inference.runs.run import Run


class TensorBoard:
    """Writes rows of metrics into the folder "tensorboard" of a run, created with the first row.

    Args:
        run: the run.

    Raises:
        ValueError: if there is no run.
    """

    def __init__(self, run: Run | None) -> None:
        if run is None:
            raise ValueError("tensorboard needs a run folder to write to: give one, or train without")
        self.run = run
        self._writer: Any = None

    def add(self, row: dict[str, float], epoch: int) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._writer = SummaryWriter(self.run.path / "tensorboard")
        for name, value in row.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
