"""An epoch on MNIST, the usual way and this project's: train, then measure both sets."""

import os
import time

import torch
from timing import Group, side_by_side
from torch.utils.data import DataLoader
from vae_peers import HIDDEN, LATENT, LR, Handwritten

from inference import Images, Settings, binarise, fit, load_dataset
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal

BATCH = 100


def usual_epoch(root: str) -> float:
    """Seconds with a DataLoader that transforms every image, and a second pass over the training set."""
    from torchvision import datasets, transforms

    sets = [datasets.MNIST(root, train, transforms.ToTensor()) for train in (True, False)]
    loaders = [DataLoader(images, BATCH, shuffle=True, num_workers=2) for images in sets]
    model = Handwritten()
    optimizer = torch.optim.Adam(model.parameters(), LR)
    started = time.perf_counter()
    for x, _ in loaders[0]:
        optimizer.zero_grad()
        model(torch.bernoulli(x).flatten(1)).backward()
        optimizer.step()
    with torch.no_grad():
        for loader in loaders:
            sum(model(torch.bernoulli(x).flatten(1)).item() for x, _ in loader)
    return time.perf_counter() - started


def our_epoch(train: Images, test: Images, **settings) -> float:  # type: ignore[no-untyped-def]
    """Seconds of the second epoch; the first one compiles."""
    shape, hidden = train.image_shape, (HIDDEN, HIDDEN)
    model = VAE(StandardNormal(LATENT), MLPDecoder(LATENT, shape, hidden))
    guide = MeanFieldGuide(MLPEncoder(shape, hidden), LATENT)
    return fit(model, guide, train, test, Settings(epochs=2, batch_size=BATCH, lr=LR, **settings))[1]["seconds"]


def measure(repeats: int) -> list[Group]:
    root = os.environ.get("PYRO_MODELS_DATA")
    if not root:
        print("\nskipping the epoch on MNIST: set PYRO_MODELS_DATA to the folder that holds it")
        return []
    train, test = (binarise(images, "dynamic") for images in load_dataset("mnist", root))
    programs = {
        "DataLoader with ToTensor, 2 workers": lambda: usual_epoch(root),
        "this project, compiled": lambda: our_epoch(train, test, compile="on"),
        "this project, compiled, full pass": lambda: our_epoch(train, test, compile="on", full_train_pass=True),
        "this project": lambda: our_epoch(train, test, compile="off"),
    }
    group = Group(f"epoch of a VAE on MNIST, batch {BATCH}", side_by_side(programs, max(3, repeats // 3), warm_up=0))
    usual = "DataLoader with ToTensor, 2 workers"
    group.compare("this project, compiled", usual, goal=0.15).compare("this project, compiled, full pass", usual)
    return [group]
