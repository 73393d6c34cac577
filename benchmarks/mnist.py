"""An epoch on MNIST, as tutorials have it and as ``fit`` has it: train, then measure the test images."""

import os
import time
from dataclasses import replace

import torch
import vae_peers as peers
from ours import OURS, epoch
from timing import Group, side_by_side
from torch.utils.data import DataLoader

from inference import Settings, binarise, load_dataset

BATCH = 100
USUAL = "DataLoader with ToTensor, 2 workers"
FULL = "this project, measuring the training set too"


def usual_epoch(root: str) -> float:
    """Seconds with a DataLoader that transforms every image, and a second pass over the training set."""
    from torchvision import datasets, transforms

    sets = [datasets.MNIST(root, train, transforms.ToTensor()) for train in (True, False)]
    loaders = [DataLoader(images, BATCH, shuffle=True, num_workers=2) for images in sets]
    model = peers.Handwritten()
    optimizer = torch.optim.Adam(model.parameters(), peers.LR)
    started = time.perf_counter()
    for x, _ in loaders[0]:
        optimizer.zero_grad()
        model(torch.bernoulli(x).flatten(1)).backward()
        optimizer.step()
    with torch.no_grad():
        for loader in loaders:
            sum(model(torch.bernoulli(x).flatten(1)).item() for x, _ in loader)
    return time.perf_counter() - started


def measure(seconds: float) -> list[Group]:
    root = os.environ.get("PYRO_MODELS_DATA")
    if not root:
        print("\nskipping the epoch on MNIST: set PYRO_MODELS_DATA to the folder that holds it")
        return []
    train, test = (binarise(images, "dynamic") for images in load_dataset("mnist", root))
    short = Settings(epochs=2, batch_size=BATCH, lr=peers.LR, compile="on", device="cpu")
    programs = {
        USUAL: lambda: usual_epoch(root),
        OURS: lambda: epoch(*peers.pair(), train, short, test=test),
        FULL: lambda: epoch(*peers.pair(), train, replace(short, full_train_pass=True), test=test),
    }
    group = Group(f"epoch of a VAE on MNIST, batch {BATCH}", side_by_side(programs, seconds, warm_up=0, least=2))
    return [group.compare(OURS, USUAL, goal=0.20).compare(FULL, USUAL)]
