"""What a processor is called, and which of its instructions decide how fast matrix products are."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "bf16", "i8mm", "sve")


def describe_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Its name, the instructions that matter, its cores, and the threads that PyTorch uses."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return {
        "name": fields.get("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
