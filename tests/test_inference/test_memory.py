"""Peak memory does not grow with the number of samples, nor with the epochs."""

import subprocess
import sys

import pytest

PAIR = """
import resource, sys
import torch
from inference import Images, Settings, fit, negative_bounds
from pyro_models import VAE, MeanFieldGuide, MLPDecoder, MLPEncoder, StandardNormal

torch.set_num_threads(1)
shape, count = (1, 28, 28), int(sys.argv[1])
model, guide = VAE(StandardNormal(2), MLPDecoder(2, shape, [32])), MeanFieldGuide(MLPEncoder(shape, [32]), 2)
images = Images("test", (torch.rand(400, *shape) < 0.5).byte(), torch.zeros(400).long(), 2, "static")
"""
BOUNDS = "negative_bounds(model, guide, images.take(slice(20)), [count], repeats=1)\n"
EPOCHS = "fit(model, guide, images, images, Settings(epochs=count, batch_size=100, device='cpu'))\n"
PEAK = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"


def peak_mib(program: str, count: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", PAIR + program + PEAK, str(count)], capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
@pytest.mark.parametrize(("program", "few", "many"), [(BOUNDS, 50, 5000), (EPOCHS, 1, 60)], ids=["samples", "epochs"])
def test_peak_memory_is_flat(program, few, many):
    # all 5000 samples of 20 images at once would be 300 MiB of pixels, and as much again for their logits
    assert peak_mib(program, many) < peak_mib(program, few) + 60
