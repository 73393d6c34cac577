"""The settings of a training run."""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from inference.system.bfloat16 import warn_if_bfloat16_is_slow
from inference.system.devices import check_device, find_device
from inference.system.products import Products, Wanted, chosen_products
from inference.training.schedules import SCHEDULES

_STEPS_WORTH_COMPILING = 3000  # compilation takes some 10 s and saves some 4 ms a step


@dataclass(frozen=True)
class Settings:
    """Settings of the training.

    Args:
        epochs: passes over the training data.
        batch_size: observations in each step.
        lr: the largest learning rate of Adam.
        schedule: how the learning rate changes over the run.
        weight_decay: decoupled weight decay (AdamW), per unit of learning rate.
        clip_norm: largest norm of the gradient; by default it is not clipped.
        on_nonfinite: what to do if a loss or gradient is NaN or infinite: stop, or skip the step; either way
            it changes no weight.
        seed: seed of all random numbers.
        num_validation: training observations held out to choose the best epoch.
        patience: stop after this many epochs without a better validation negative ELBO.
        full_train_pass: measure the training data in a second pass after each epoch, not during training.
        device: "auto" takes a GPU if there is one, else "cpu"; or "cuda", "cuda:1" (the second GPU), "mps".
        mixed_precision: arithmetic of the forward pass; fp16 needs a GPU.  It also rounds draws that a
            distribution of your own makes by multiplying matrices, as Pyro's ``MultivariateNormal`` does:
            call it without autocast.
        compile: run the steps as one compiled graph; "auto" does so from 3000 steps on, when it saves more
            time than compilation takes, but never with fp16, nor on a CPU with convolutions, which gain nothing.
        products: what multiplies float32 matrices on a CPU: "auto" takes oneDNN from 3000 steps on where a try finds it
            faster than PyTorch's default, with errors of float32 size; "default" never does; "onednn" repeats a run
            that did.
        tf32: "true" lets NVIDIA GPUs round the factors of matrix products to 10 bits, for speed.
        tracker: where the metrics of every epoch go too; each needs the package of its name, and takes account, server
            and project from its own settings, such as WANDB_PROJECT and MLFLOW_TRACKING_URI.
        tensorboard: earlier form of the tracker tensorboard.

    Raises:
        ValueError, TypeError: if a setting is out of its range, or two contradict each other.
    """

    epochs: int = 100
    batch_size: int = 200
    lr: float = 1e-3
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    weight_decay: float = 0.0
    clip_norm: float | None = None
    on_nonfinite: Literal["stop", "skip"] = "stop"
    seed: int = 0
    num_validation: int = 0
    patience: int | None = None
    full_train_pass: bool = False
    device: str = "auto"
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    compile: Literal["auto", "on", "off"] = "auto"
    products: Wanted = "auto"
    tf32: bool = False
    tracker: Literal["none", "tensorboard", "wandb", "mlflow"] = "none"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_device(self.device)
        if self.compile == "on" and self.mixed_precision == "fp16":
            raise ValueError("compile 'on' does not go with mixed_precision fp16, whose gradients are scaled: use bf16")
        for name, low in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("num_validation", 0), ("weight_decay", 0)):
            if not getattr(self, name) >= low:
                raise ValueError(f"{name} must be at least {low}; got {getattr(self, name)}")
            if not getattr(self, name) < 2**63:  # the largest 64-bit integer is one less
                raise ValueError(f"{name} must be below 2^63; got {getattr(self, name)}")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr must be a positive number; got {self.lr}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive; got {self.clip_norm}")
        if self.tensorboard and self.tracker not in ("none", "tensorboard"):
            raise ValueError(f"tensorboard does not go with tracker {self.tracker}: a run has one tracker")
        if (wanted := self.tracked_by) and find_spec(wanted) is None:
            raise ValueError(f"{wanted} is not installed: install it (pip install {wanted}), or give tracker none")
        if self.patience is not None and (self.patience < 1 or not self.num_validation):
            raise ValueError("patience must be at least 1 and needs data to judge by: give num_validation too")

    @property
    def tracked_by(self) -> str | None:
        """The name of the tracker, if there is one."""
        return self.tracker if self.tracker != "none" else "tensorboard" if self.tensorboard else None

    def find_device(self) -> torch.device:
        """The device to train on.

        Raises:
            ValueError: if this machine has no such device, or the device no such arithmetic.
        """
        device = find_device(self.device)
        if self.mixed_precision == "fp16" and device.type == "cpu":
            raise ValueError("mixed_precision fp16 needs a GPU, and the device is the CPU: use bf16, or no")
        if self.mixed_precision == "bf16" and device.type == "cpu":
            warn_if_bfloat16_is_slow()
        return device

    @staticmethod
    def check_dtype(device: torch.device, dtype: torch.dtype) -> None:
        """Make sure that a device computes with data of this type.

        Raises:
            ValueError: if not.
        """
        if dtype == torch.float64 and device.type == "mps":
            raise ValueError("Apple's GPUs have no float64: take the device cpu, or make data and modules float32")

    def check_holds_out_fewer_than(self, count: int) -> None:
        """Make sure that some training data remain.

        Raises:
            ValueError: if not.
        """
        if self.num_validation >= count:
            raise ValueError(
                f"num_validation must be below the {count} training observations; got {self.num_validation}"
            )

    def steps_an_epoch(self, count: int, processes: int = 1) -> int:
        """The number of steps in an epoch, given the number of observations before any are held out."""
        return math.ceil((count - self.num_validation) // processes / self.batch_size)

    def best_products(self, steps: int) -> Products:
        """What multiplies matrices in a run of so many steps on this machine."""
        wanted = "default" if self.tf32 else self.products
        return chosen_products(wanted, steps >= _STEPS_WORTH_COMPILING, self.find_device())

    def compiles(self, steps: int, *modules: nn.Module) -> bool:
        """Whether to compile a run of so many steps of these modules.

        The scaled gradients of fp16 cannot be compiled; convolutions on a CPU gain nothing, and take minutes.
        """
        if self.mixed_precision == "fp16" or self.compile != "auto":
            return self.compile == "on" and self.mixed_precision != "fp16"
        if self.find_device().type == "cpu" and any(isinstance(m, _ConvNd) for half in modules for m in half.modules()):
            return False
        return steps >= _STEPS_WORTH_COMPILING

    def lr_at(self, progress: float) -> float:
        """The learning rate after a fraction of the run's steps."""
        return self.lr * SCHEDULES[self.schedule](progress)
