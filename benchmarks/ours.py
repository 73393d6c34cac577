"""Steps and epochs of this project, as ``fit`` takes them."""

import statistics
from itertools import count

import torch
from pyro.infer import Trace_ELBO
from timing import Program
from torch import Tensor, nn

from inference import DataSet, Settings, fit
from inference.system.switches import validating
from inference.training.steps import Steps

OURS = "this project"
UNCOMPILED = "this project, uncompiled"
ENDLESS = 10**9  # steps in the run that a benchmark takes some of


def steps(model: nn.Module, guide: nn.Module, batches: list[Tensor], settings: Settings) -> Program:
    """A program that trains on the batches, one step for each, from where its last call stopped."""
    take = Steps(Trace_ELBO(), model, guide, settings, torch.device("cpu"), ENDLESS)
    taken = count()
    take.module.train()

    def run() -> None:
        with validating(False):
            for x in batches:
                take((x,), next(taken), full=True)

    return run


def epoch(model: nn.Module, guide: nn.Module, train: DataSet, settings: Settings, test: DataSet | None = None) -> float:
    """Median seconds of an epoch of ``fit``, without the first one, which compiles."""
    rows = fit(model, guide, train, test, settings, progress=False)
    return statistics.median(row["seconds"] for row in rows[1:])
