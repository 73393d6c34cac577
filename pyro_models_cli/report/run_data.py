"""The data of a run, and what a report calls them."""

from dataclasses import dataclass
from typing import Any

import torch

from inference import DataSet


@dataclass(frozen=True)
class RunData:
    """What a run was trained on and is shown with: the test data, or the training data where there are none."""

    train: DataSet
    test: DataSet | None

    def to(self, device: torch.device) -> "RunData":
        return RunData(self.train.to(device), None if self.test is None else self.test.to(device))

    @property
    def shown(self) -> Any:
        """The data of the figures: a ``DataSet``, with what images have beyond it."""
        return self.train if self.test is None else self.test

    @property
    def paired(self) -> slice:
        """The first observations, an even number of at most ten: each of the first half goes with one of the second."""
        return slice(2 * min(5, len(self.shown) // 2))

    @property
    def noun(self) -> str:
        """What one observation is."""
        return {1: "vector", 3: "image"}.get(len(self.train.shape), "observation")

    @property
    def split(self) -> str:
        """Of the data in the figures."""
        return "training" if self.test is None else "test"

    @property
    def those(self) -> str:
        """The data in the figures, such as "test images"."""
        return f"{self.split} {self.noun}s"

    @property
    def name(self) -> str:
        """Without the split: "digits" of "digits test"."""
        return self.shown.name.removesuffix(" train").removesuffix(" test")

    @property
    def dims(self) -> str:
        """The size of one observation: "1x8x8" of an image, "13 coordinates" of a vector."""
        shape = self.train.shape
        return f"{shape[0]} coordinates" if len(shape) == 1 else "x".join(map(str, shape))

    @property
    def sizes(self) -> str:
        """How many observations there are to train and to test on."""
        tested = "" if self.test is None else f" and {len(self.test):,} test"
        without = ", no test set" if self.test is None else ""
        return f"{len(self.train):,} training{tested} {self.noun}s of {self.dims}{without}"

    def remarks(self) -> list[str]:
        """What a reader has to know of the data, a sentence each."""
        said = []
        if self.train.log_det:
            said.append(
                "The programs see the vectors standardised, with mean 0 and standard deviation 1 in each coordinate of "
                "the training set; every number and figure here is for the data as they came."
            )
        if self.test is None:
            said.append("There is no test set: the figures show the training data.")
        return said
