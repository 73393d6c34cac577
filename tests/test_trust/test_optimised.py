"""``python -O`` drops assertions; the checks of arguments stay."""

import os
import subprocess
import sys

from conftest import ROOT

CODE = """
import torch, inference, pyro_models as m
assert False, "assertions are on: this is not python -O"
vae = m.VAE(m.StandardNormal(2), m.MLPDecoder(2, (1, 2, 2), [3], context=2), num_classes=2)
guide = m.MeanFieldGuide(m.MLPEncoder((1, 2, 2), [3], context=2), 2, num_classes=2)
x, labels = torch.ones(3, 1, 2, 2), torch.tensor([0, 1, 1])
calls = {
    "a text for a tensor": lambda: inference.effective_sample_share("a"),
    "a text for a number": lambda: inference.Settings(epochs="3"),
    "a number out of range": lambda: inference.Settings(epochs=0),
    "a fraction for a whole number": lambda: m.UniformDequantizer(2.5),
    "a text among many": lambda: inference.set_seed(1, "a"),
    "a text within a list": lambda: m.MLPDecoder(2, (1, 2, 2), ["a"]),
    "a name that is no parameter": lambda: inference.iwae_bound(torch.zeros(3, 2), 1, wrong=1),
    "grey pixels": lambda: inference.log_weights(vae, guide, x / 2, 3, labels=labels),
    "an unknown label": lambda: inference.log_weights(vae, guide, x, 3, labels=labels + 1),
}
for name, call in calls.items():
    try:
        call()
    except (TypeError, ValueError):
        continue
    print("not refused:", name)
print(tuple(inference.log_weights(vae, guide, x, 3, labels=labels).shape))
"""


def test_arguments_are_checked_without_assertions():
    done = subprocess.run(
        [sys.executable, "-O", "-c", CODE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("(3, 3)\n", 0), done.stdout + done.stderr
