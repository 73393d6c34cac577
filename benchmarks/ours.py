"""Steps and epochs of this project, as ``fit`` takes them."""

import statistics
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from timing import Program
from torch import Tensor, nn

from inference import DataSet, Settings, fit
from inference.system.products import better_products, products_by
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
        with validating(False), products_by(settings.best_products(ENDLESS)):
            for x in batches:
                take((x,), next(taken), full=True)

    return run


def epochs(model: nn.Module, guide: nn.Module, train: DataSet, settings: Settings, **options: Any) -> list[float]:
    """Seconds of each epoch of ``fit`` in a long run, without the first one, which compiles."""
    long = replace(settings, products=better_products())  # which a short run would not try
    rows = fit(model, guide, train, settings=long, show=None, **options)
    return [row["seconds"] for row in rows[1:]]


def epoch(model: nn.Module, guide: nn.Module, train: DataSet, settings: Settings, **options: Any) -> float:
    """The median of :func:`epochs`."""
    return statistics.median(epochs(model, guide, train, settings, **options))
