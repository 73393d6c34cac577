"""One training step of a convolutional flow of images: here, in plain PyTorch, and at an earlier commit.

Each program runs in a process of its own, as that of the earlier commit must.
"""

from contextlib import ExitStack

import torch
from apart import apart, checked_out
from flows import library_step
from image_peers import PlainImageFlow
from ours import OURS, steps
from timing import Group, Program, side_by_side

from inference import Settings
from pyro_models import FlowModel, UniformDequantizer, image_realnvp

SIZES = (1, 28, 28), 16, 2  # shape, channels, blocks
BATCH, LR = 64, 1e-4
PLAIN, PLAIN_AT_BEST = "PyTorch by hand", "PyTorch by hand, at its best"
BF16, COMPILED, BEFORE = "this project, bf16", "this project, compiled", "this project, at an earlier commit"
COMMIT = "3f6f3b74a4"  # before products by oneDNN, and the update as one graph
SETUPS = {
    OURS: "program = image.step_of_fit()",
    COMPILED: "program = image.step_of_fit(compile='on')",
    BF16: "program = image.step_of_fit(mixed_precision='bf16')",
    PLAIN: "program = image.plain_step()",
    PLAIN_AT_BEST: "program = image.plain_step(best=True)",
}
# as step_of_fit, in the words of that commit
SETUP_BEFORE = f"""
import torch
from inference import Settings
from ours import steps
from pyro_models import FlowModel, UniformDequantizer, image_realnvp
pair = FlowModel(image_realnvp(*{SIZES}), 256), UniformDequantizer(256)
x = torch.randint(0, 256, ({BATCH}, *{SIZES[0]})).float()
program = steps(*pair, [x], Settings(lr={LR}, compile="on", device="cpu"))
"""


def images() -> torch.Tensor:
    return torch.randint(0, 256, (BATCH, *SIZES[0])).float()


def step_of_fit(**settings: str) -> Program:
    pair = FlowModel(image_realnvp(*SIZES), 256), UniformDequantizer(256)
    return steps(*pair, [images()], Settings(lr=LR, device="cpu", **settings))  # type: ignore[arg-type]


def plain_step(best: bool = False) -> Program:
    return library_step(PlainImageFlow(*SIZES), images(), best)


def measure(seconds: float) -> list[Group]:
    with ExitStack() as stack:
        programs = {name: stack.enter_context(apart(f"import image\n{setup}")) for name, setup in SETUPS.items()}
        tree = stack.enter_context(checked_out(COMMIT))
        if tree is not None:
            programs[BEFORE] = stack.enter_context(apart(SETUP_BEFORE, tree))
        times = side_by_side(programs, seconds)
    group = Group(f"step of image_realnvp, {SIZES[1]} channels, {SIZES[2]} blocks; batch {BATCH}", times)
    group.compare(OURS, BEFORE, goal=0.60).compare(OURS, PLAIN, 1.0).compare(OURS, PLAIN_AT_BEST, 1.0)
    return [group.compare(OURS, COMPILED).compare(OURS, BF16)]
