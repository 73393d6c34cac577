"""What a job makes of the processor and the C library it finds."""

import os
import platform
import subprocess
import sys
import warnings

import pytest
import torch
from conftest import ROOT

from inference import Settings
from inference.system import bfloat16
from inference.system.bfloat16 import warn_if_bfloat16_is_slow

FAULTS = """
import resource, sys
import torch
from inference.system.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
def step():
    for _ in range(2):
        torch.ones(12_000_000).add_(1)  # 48 MB
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **variables: str) -> tuple[bool, int]:
    """Whether freed memory is kept, and the pages that ten tensors of 48 MB get from the system."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUN"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how],
        env=environment | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, count = done.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")
def test_freed_memory_serves_the_next_tensors():
    kept, count = faults("keep")
    assert kept
    returned, count_without = faults("as it is")
    assert not returned
    assert count < count_without / 5


def test_the_users_own_settings_of_the_allocator_stay():
    assert not faults("keep", MALLOC_ARENA_MAX="2")[0]


@pytest.fixture
def products_take(monkeypatch):
    """Have products take these seconds."""
    warn_if_bfloat16_is_slow.cache_clear()
    yield lambda **seconds: monkeypatch.setattr(
        bfloat16, "_seconds", lambda dtype: seconds[str(dtype).removeprefix("torch.")]
    )
    warn_if_bfloat16_is_slow.cache_clear()


def test_bfloat16_is_warned_of_where_it_is_imitated(products_take):
    products_take(bfloat16=0.08, float32=0.01)
    with pytest.warns(UserWarning, match="a small product takes 8 times as long as in float32"):
        Settings(device="cpu", mixed_precision="bf16").find_device()
    with warnings.catch_warnings(action="error"):  # it is said once
        Settings(device="cpu", mixed_precision="bf16").find_device()


def test_bfloat16_is_not_warned_of_where_it_is_fast_or_not_used(products_take):
    with warnings.catch_warnings(action="error"):
        products_take(bfloat16=0.01, float32=0.02)
        Settings(device="cpu", mixed_precision="bf16").find_device()
        warn_if_bfloat16_is_slow.cache_clear()
        products_take(bfloat16=1.0, float32=0.01)
        Settings(device="cpu").find_device()


def test_the_time_of_products_is_measured():
    assert 0 < bfloat16._seconds(torch.float32) < 10
