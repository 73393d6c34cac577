"""Importance-weighted bounds for m = 5, 50 and 150: with separate draws for each m, and with one set for all."""

import math

import torch
from ours import OURS
from products import by_the_faster
from timing import Group, side_by_side
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits
from vae_peers import PIXELS, SHAPE, Handwritten, pair

from inference import Images, Weigher, iwae_bound, log_weights, negative_bounds
from inference.system.switches import validating

MS, IMAGES, BATCH = (5, 50, 150), 500, 100
LONG = 1000  # repeats; as much work as 50 repeats on MNIST's 10,000 test images
USUAL = "each m on its own, images repeated"
USUAL_AT_BEST = "the same with the faster products"
SHORT_TABLE = "this project, a table of one repeat, which is not compiled"


@torch.no_grad()
def one_by_one(model: Handwritten, pixels: Tensor) -> list[float]:
    """For each m, encode and decode m copies of each image and take the log-mean-exp of their weights."""
    table = []
    for m in MS:
        bounds = []
        for grey in pixels.split(BATCH):
            x = torch.bernoulli(grey).repeat_interleave(m, dim=0)
            mean, log_variance = model.encoder(x).chunk(2, dim=-1)
            posterior = Normal(mean, (0.5 * log_variance).exp())
            z = posterior.rsample()
            log_x = -binary_cross_entropy_with_logits(model.decoder(z), x, reduction="none").sum(-1)
            log_w = log_x + Normal(0.0, 1.0).log_prob(z).sum(-1) - posterior.log_prob(z).sum(-1)
            bounds.append(log_w.unflatten(0, (-1, m)).logsumexp(1) - math.log(m))
        table.append(float(torch.cat(bounds).mean()))
    return table


def measure(seconds: float) -> list[Group]:
    model, guide = (half.eval() for half in pair())
    grey = torch.rand(IMAGES, PIXELS) * (torch.rand(IMAGES, PIXELS) < 0.2)
    pixels = (255 * grey).round().byte().unflatten(1, SHAPE)
    images = Images("random pixels", pixels, binarisation="dynamic")
    by_hand = Handwritten()
    weigh = Weigher(model, guide, pairs=len(images) * max(MS) * LONG)

    def usual() -> None:
        one_by_one(by_hand, pixels.flatten(1) / 255)

    def short() -> None:
        negative_bounds(model, guide, images, MS, repeats=1)

    def long() -> None:
        with validating(False):
            for (x,) in images.batches(BATCH):
                log_w = log_weights(model, guide, x, max(MS), weigh=weigh)
                for m in MS:
                    iwae_bound(log_w, m)

    programs = {USUAL: usual, USUAL_AT_BEST: by_the_faster(usual), SHORT_TABLE: short, OURS: by_the_faster(long)}
    what = f"bounds for m = {', '.join(map(str, MS))} of {IMAGES} images, one repeat"
    group = Group(what, side_by_side(programs, seconds, warm_up=1))
    return [group.compare(OURS, USUAL, goal=0.15).compare(OURS, USUAL_AT_BEST, 1.0).compare(SHORT_TABLE, USUAL)]
